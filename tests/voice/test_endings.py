"""Sessions that end while a transfer is on its way, and transfers whose answer is lost."""

from __future__ import annotations

import asyncio
import signal

import pytest

from transfer_tasks.outcome import GUIDE, Reason
from voice.model import say, transfer

ASKED = GUIDE[Reason.ACCEPTED_BY_PLATFORM].say
RING_SECONDS = 5
"""As the test's registry has it for `support`."""

NOTHING_MORE_SECONDS = 3.0
"""Long enough for anything that should not happen to happen."""


@pytest.mark.parametrize("how", ["hang_up", "drop"])
async def test_a_caller_who_hangs_up_before_the_request_is_sent_is_not_moved(
    private_cluster, open_voice, how
):
    cluster = private_cluster
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support"))
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "waiting")
        await getattr(call, how)()
        (record,) = await asyncio.to_thread(cluster.wait_for_state, call.call_id, "cancelled")
        assert record.reason is Reason.CANCELLED_BY_SESSION
        await asyncio.to_thread(cluster.start_worker)
        await asyncio.sleep(NOTHING_MORE_SECONDS)
        assert cluster.posts(call.call_id) == []


async def test_a_caller_who_hangs_up_between_claim_and_request_is_not_moved(private_cluster, open_voice):
    """The worker waits for the platform's Retry-After: claimed, sent once, and proven not carried out."""
    cluster = private_cluster
    await asyncio.to_thread(cluster.start_worker)
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support"))
        cluster.script(call.call_id, "503:2")
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "claimed")
        await call.hang_up()
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "cancelled")
        await asyncio.sleep(NOTHING_MORE_SECONDS)
        assert [post.carried_out for post in cluster.posts(call.call_id)] == [False]


async def test_a_caller_who_hangs_up_after_the_request_was_sent_changes_nothing(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("slow"))
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_posts, call.call_id)
        await call.hang_up()
        (record,) = await asyncio.to_thread(cluster.wait_for_state, call.call_id, "submitted")
        assert record.source == "worker"
        assert len(cluster.posts(call.call_id)) == 1


async def test_a_hang_up_in_one_call_leaves_the_others_alone(private_cluster, open_voice):
    cluster = private_cluster
    async with open_voice(cluster) as voice:
        calls = [await voice.ring(transfer("support")) for _ in range(3)]
        for call in calls:
            await call.say("A person, please.")
            await asyncio.to_thread(cluster.wait_for_state, call.call_id, "waiting")
        await calls[1].hang_up()
        await asyncio.to_thread(cluster.wait_for_state, calls[1].call_id, "cancelled")
        await asyncio.to_thread(cluster.start_worker)
        for call in (calls[0], calls[2]):
            await call.hears(ASKED)
        assert [len(cluster.posts(call.call_id)) for call in calls] == [1, 0, 1]


async def test_an_unknown_transfer_that_happened_takes_the_caller_away_and_is_recorded_so(
    cluster, open_voice
):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support"))
        cluster.script(call.call_id, "silence")
        await call.say("A person, please.")
        (post,) = await asyncio.to_thread(cluster.wait_for_posts, call.call_id)
        assert post.carried_out
        await call.hang_up()  # the platform moved the call: the agent's leg ends
        (record,) = await asyncio.to_thread(cluster.wait_for_state, call.call_id, "submitted")
        assert (record.reason, record.source) == (Reason.TRANSFER_CONFIRMED, "session")
        await asyncio.sleep(NOTHING_MORE_SECONDS)
        assert len(cluster.posts(call.call_id)) == 1


async def test_an_unknown_transfer_that_did_not_happen_is_told_as_it_is_until_nothing_can_ring_any_more(
    cluster, open_voice
):
    async with open_voice(cluster, session_evidence_grace_seconds=1) as voice:
        call = await voice.ring(
            transfer("support"), say("I am still here."), transfer("support"), say("Bear with me.")
        )
        cluster.script(call.call_id, "reset-not-done")
        await call.say("A person, please.")
        await call.hears("still here")
        assert "can't tell yet" in call.heard[-2], "the truth, at once"
        await call.say("And now?")
        await call.until(lambda: len(call.wits.requests) == 4)
        assert [result["status"] for result in call.wits.tool_results()] == ["unknown", "unknown"]
        await call.hears(GUIDE[Reason.NOT_TRANSFERRED].say)
        (record,) = cluster.records(call.call_id)
        assert (record.state, record.reason, record.source) == ("failed", Reason.NOT_TRANSFERRED, "session")
        assert record.ended_at_ms / 1000 - cluster.posts(call.call_id)[0].at > RING_SECONDS + 1
        await asyncio.sleep(NOTHING_MORE_SECONDS)
        assert len(cluster.posts(call.call_id)) == 1, "evidence starts no request"


async def test_an_unknown_transfer_that_did_not_happen_may_be_asked_for_again_once_that_is_known(
    cluster, open_voice
):
    async with open_voice(cluster, session_evidence_grace_seconds=1) as voice:
        call = await voice.ring(transfer("support"), say("I am still here."), transfer("support"))
        cluster.script(call.call_id, "reset-not-done")
        await call.say("A person, please.")
        await call.hears(GUIDE[Reason.NOT_TRANSFERRED].say)
        await call.say("Try again.")
        await call.hears(ASKED)
        assert [post.carried_out for post in cluster.posts(call.call_id)] == [False, True]
        assert [record.hop for record in cluster.records(call.call_id)] == [1, 2]


async def test_with_evidence_switched_off_nothing_is_repeated_and_the_truth_is_told(cluster, open_voice):
    async with open_voice(cluster, session_evidence=False) as voice:
        call = await voice.ring(transfer("support"), say("Are you still there?"), transfer("support"))
        cluster.script(call.call_id, "reset-not-done")
        await call.say("A person, please.")
        await call.hears("still there")
        assert "can't tell yet" in call.heard[-2]
        await call.say("Yes. Try again!")
        await call.until(lambda: len(call.wits.requests) == 4)
        assert [result["status"] for result in call.wits.tool_results()] == ["unknown", "unknown"]
        await call.hang_up()
        await asyncio.sleep(NOTHING_MORE_SECONDS)
        (record,) = cluster.records(call.call_id)
        assert (record.state, record.reason) == ("unknown", Reason.ANSWER_LOST)
        assert len(cluster.posts(call.call_id)) == 1


async def test_a_process_that_is_stopped_is_no_evidence(cluster, open_voice):
    async with open_voice(cluster) as voice:
        call = await voice.ring(transfer("support"))
        cluster.script(call.call_id, "reset")
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "unknown")
    await asyncio.sleep(NOTHING_MORE_SECONDS)
    (record,) = cluster.records(call.call_id)
    assert record.state == "unknown"


async def test_a_worker_killed_before_it_sends_is_replaced_while_the_caller_holds(
    private_cluster, open_voice
):
    cluster = private_cluster
    async with open_voice(cluster) as voice:
        first = await asyncio.to_thread(cluster.start_worker)
        call = await voice.ring(transfer("support"))
        first.send_signal(signal.SIGSTOP)
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "waiting")
        first.kill_group()
        await asyncio.to_thread(cluster.start_worker)
        await call.hears(ASKED)
        assert len(cluster.posts(call.call_id)) == 1


async def test_a_worker_killed_while_it_sends_leaves_the_truth_to_the_session(private_cluster, open_voice):
    cluster = private_cluster
    workers = {f"w{number}": await asyncio.to_thread(cluster.start_worker) for number in (1, 2)}
    async with open_voice(cluster, session_evidence_grace_seconds=1) as voice:
        call = await voice.ring(transfer("support"), say("I am still here."))
        cluster.script(call.call_id, "silence-not-done:2")
        await call.say("A person, please.")
        await asyncio.to_thread(cluster.wait_for_posts, call.call_id)
        owner = cluster.records(call.call_id)[0].worker.split("@")[0]
        workers[owner].kill_group()
        (record,) = await asyncio.to_thread(cluster.wait_for_state, call.call_id, "unknown")
        assert record.reason is Reason.WORKER_DIED
        await call.hears("can't tell yet")
        await call.hears(GUIDE[Reason.NOT_TRANSFERRED].say)
        assert [post.carried_out for post in cluster.posts(call.call_id)] == [False]
        assert cluster.records(call.call_id)[0].reason is Reason.NOT_TRANSFERRED
