"""What a session's end means for its transfers: a hang-up, a stop, a fault. On fake time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from support.calling import CHOICES, OK, Caller, client_of, new_call_id, now, on_fake_time
from transfer_tasks.outcome import Reason
from transfer_tasks.testing import RecordingPublisher, ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import SessionReason, TransferClient, VoiceSettings


async def hang_up_during(session, caller, *, after_seconds):
    """Let a session live so long with a transfer on its way; then cancel it, as a hang-up does."""

    async def live():
        async with session:
            asking = asyncio.create_task(session.transfer("support", say=caller.say))
            await asyncio.sleep(1000)
            await asking

    life = asyncio.create_task(live())
    await asyncio.sleep(after_seconds)
    hung_up_at = now()
    life.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await life
    return now() - hung_up_at


@on_fake_time
async def test_a_hang_up_before_the_request_was_sent_withdraws_it_and_nothing_more_is_said():
    waiting = ending(OK, after_seconds=10, unsent_seconds=8)
    async with client_of(waiting) as (client, publisher):
        caller = Caller()
        left_after = await hang_up_during(client.session(new_call_id()), caller, after_seconds=3)
        assert publisher.handles[0].was_cancelled
        assert left_after < 1
        await asyncio.sleep(60)
        assert len(caller.texts) == 1, "the holding line, before"
        assert publisher.handles[0].reports == []


@on_fake_time
async def test_a_hang_up_while_the_request_is_being_put_on_the_queue_withdraws_it():
    class Slow(RecordingPublisher):
        async def submit(self, intent):
            handle = await super().submit(intent)
            await asyncio.sleep(0.5)
            return handle

    publisher = Slow(ending(OK, after_seconds=10, unsent_seconds=8))
    settings = VoiceSettings(_env_file=None, announce="after")
    async with TransferClient(publisher, choices=CHOICES, settings=settings) as client:
        await hang_up_during(client.session(new_call_id()), Caller(), after_seconds=0.2)
        assert publisher.handles[0].was_cancelled


@on_fake_time
async def test_a_hang_up_after_the_request_was_sent_leaves_it_alone():
    async with client_of(ending(OK, after_seconds=4)) as (client, publisher):
        await hang_up_during(client.session(new_call_id()), Caller(), after_seconds=1)
        await asyncio.sleep(60)
        assert not publisher.handles[0].was_cancelled
        assert publisher.handles[0].reports == []


@pytest.mark.parametrize("ends_after_seconds", [1, 7])
def test_a_session_that_ends_before_or_after_the_answer_is_lost_is_evidence_of_the_transfer(
    ends_after_seconds,
):
    async def check():
        async with client_of(ending(Reason.ANSWER_LOST, after_seconds=5)) as (client, publisher):
            await hang_up_during(client.session(new_call_id()), Caller(), after_seconds=ends_after_seconds)
            await asyncio.sleep(10)
            assert publisher.handles[0].reports == ["transferred"]
            assert (await publisher.handles[0].outcome()).reason is Reason.TRANSFER_CONFIRMED
            assert len(publisher.intents) == 1

    run_on_fake_time(check())


@on_fake_time
async def test_a_process_that_stops_is_no_evidence():
    async with client_of(ending(Reason.ANSWER_LOST)) as (client, publisher):
        await hang_up_during(client.session(new_call_id()), Caller(), after_seconds=1)
    assert publisher.is_closed
    await asyncio.sleep(60)
    assert publisher.handles[0].reports == []


@on_fake_time
async def test_a_session_that_breaks_is_no_evidence():
    async with client_of(ending(Reason.ANSWER_LOST)) as (client, publisher):
        with contextlib.suppress(ZeroDivisionError):
            async with client.session(new_call_id()) as session:
                asking = asyncio.create_task(session.transfer("support"))
                await asyncio.sleep(1)
                raise ZeroDivisionError
        assert (await asking).reason is Reason.ANSWER_LOST
        await asyncio.sleep(60)
        assert publisher.handles[0].reports == []


@on_fake_time
async def test_leaving_takes_a_second_at_most_and_the_withdrawal_goes_on_behind_it():
    async with client_of(ending(OK, after_seconds=50, unsent_seconds=50)) as (client, publisher):
        asyncio.get_running_loop().call_later(0.5, setattr, publisher, "is_reachable", False)
        session = client.session(new_call_id())
        assert await hang_up_during(session, Caller(), after_seconds=1) == pytest.approx(1)
        await asyncio.sleep(5)
        assert not publisher.handles[0].was_cancelled
        publisher.is_reachable = True
        await asyncio.sleep(1)
        assert publisher.handles[0].was_cancelled


@on_fake_time
async def test_nothing_is_asked_for_once_a_session_has_ended():
    async with client_of() as (client, publisher):
        async with client.session(new_call_id()) as session:
            pass
        answer = await session.transfer("support")
        assert answer.reason is SessionReason.SESSION_CLOSED
        assert publisher.intents == []


@on_fake_time
async def test_a_request_still_awaited_when_the_session_ends_gets_an_answer():
    async with client_of(ending(OK, after_seconds=10)) as (client, _):
        async with client.session(new_call_id()) as session:
            asking = asyncio.create_task(session.transfer("support"))
            await asyncio.sleep(1)
        assert (await asking).reason is SessionReason.SESSION_ENDED


@on_fake_time
async def test_twenty_calls_at_once_each_ask_for_their_own():
    async with client_of(*[ending(OK, after_seconds=1)] * 20) as (client, publisher):
        call_ids = [new_call_id() for _ in range(20)]

        async def live(call_id):
            async with client.session(call_id) as session:
                return await session.transfer("support")

        answers = await asyncio.gather(*map(live, call_ids))
        assert [answer.outcome.call_id for answer in answers] == call_ids
        assert len(publisher.handles) == 20
