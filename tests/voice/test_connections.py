"""What the caller hears when the platform reports that nobody picked up: before its answer, and after it."""

from __future__ import annotations

import asyncio

from transfer_tasks.connection import ConnectionReason, ConnectionReport, ConnectionStatus, ReportSource
from transfer_tasks.voice import Wording
from voice.model import transfer


async def until(condition):
    """Wait, looking seldom and on no thread: the calls' own look-ups need those."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is looked at is another process
            await asyncio.sleep(0.2)


def report(cluster, call, reason):
    """Put the platform's word on record."""
    (record,) = cluster.records(call.call_id)
    cluster.report(
        ConnectionReport(
            call_id=call.call_id,
            request_id="",
            transfer_id=record.transfer_id,
            status=ConnectionStatus.NOT_CONNECTED,
            reason=reason,
            caller_gone=reason is ConnectionReason.CALLER_GONE,
            source=ReportSource.ROOM,
        )
    )


async def live(voice, cluster, reason, destination):
    """Live through one call: `slow` answers after three seconds, and the report comes before it."""
    call = await voice.ring(transfer(destination), transfer("billing"))
    call.mouth.sentence_seconds = 0.4
    await call.say("A person, please.")
    await until(lambda: cluster.posts(call.call_id))
    if destination != "slow":
        await until(lambda: cluster.records(call.call_id)[0].state == "submitted")
    report(cluster, call, reason)
    sentence = Wording().not_connected(reason, destination)
    if reason is ConnectionReason.CALLER_GONE:
        await until(lambda: cluster.records(call.call_id)[0].state == "submitted")
        await call.hang_up()
    else:
        await call.hears(sentence.replace("?", r"\?"))
        sounded = call.sounded_seconds
        await call.until(lambda: call.sounded_seconds > sounded)
        await call.say("Yes, please.")
        await until(lambda: len(cluster.posts(call.call_id)) == 2)
        assert sentence in str(call.wits.requests[-1]["messages"]), "the model has heard it, too"
    company = {*Wording().holding, *Wording().ringing}
    return [text for text in call.heard if text not in company]


async def test_each_reason_is_told_whenever_it_comes_and_another_transfer_may_be_asked_for(
    cluster, open_voice
):
    courses = [(reason, to) for reason in ConnectionReason for to in ("support", "slow")]
    async with open_voice(cluster, announce="before") as voice:
        heard = await asyncio.gather(*(live(voice, cluster, *course) for course in courses))
    for (reason, destination), sentences in zip(courses, heard, strict=True):
        announced = Wording().announcement(destination)
        gone = reason is ConnectionReason.CALLER_GONE
        told = (
            [] if gone else [Wording().not_connected(reason, destination), Wording().announcement("billing")]
        )
        assert sentences == [announced, *told], (reason, destination)
