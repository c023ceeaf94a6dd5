"""A session while Redis is away: what Redis may have got is withdrawn, not forgotten. On fake time."""

from __future__ import annotations

import asyncio

import pytest

from support.calling import OK, Caller, client_of, new_call_id, on_fake_time
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import SessionReason


@on_fake_time
async def test_with_redis_down_the_caller_hears_the_apology():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        publisher.is_reachable = False
        caller = Caller()
        answer = await session.transfer("support", say=caller.say)
        assert answer.reason is SessionReason.QUEUE_UNAVAILABLE
        assert answer.phrase.may_retry
        assert caller.texts == ["I'm sorry, I couldn't transfer you just now."]


@on_fake_time
async def test_a_request_that_redis_may_have_got_is_withdrawn_until_the_ledger_says_so():
    lost = ending(OK, after_seconds=9, unsent_seconds=9, loses_answer=True)
    async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
        caller = Caller()
        answer = await session.transfer("support", say=caller.say)
        assert answer.reason is SessionReason.QUEUE_SILENT
        assert caller.texts == ["I'm sorry, I'm having trouble with the transfer. Please stay on the line."]
        await asyncio.sleep(3)
        assert not publisher.handles[0].was_cancelled
        publisher.is_reachable = True
        await asyncio.sleep(1)
        assert publisher.handles[0].was_cancelled


@on_fake_time
async def test_the_same_request_again_keeps_the_one_that_redis_may_have_got():
    lost = ending(OK, after_seconds=9, unsent_seconds=8, loses_answer=True)
    async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
        await session.transfer("support")
        await asyncio.sleep(2)
        publisher.is_reachable = True
        answer = await session.transfer("support")
        assert answer.state is State.SUBMITTED
        assert len(publisher.handles) == 1


@on_fake_time
async def test_a_request_that_redis_may_have_got_stays_open_while_redis_is_away_however_often_it_is_asked():
    lost = ending(OK, after_seconds=20, unsent_seconds=15, loses_answer=True)
    async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
        caller = Caller()
        await session.transfer("support", say=caller.say)
        for _ in range(2):
            await asyncio.sleep(1)
            again = await session.transfer("support", say=caller.say)
            assert again.reason is SessionReason.QUEUE_SILENT, "the first request may still be carried out"
        assert not any("couldn't transfer" in text for text in caller.texts)
        publisher.is_reachable = True
        await asyncio.sleep(1)
        assert publisher.handles[0].was_cancelled


@on_fake_time
async def test_a_hang_up_withdraws_what_redis_may_have_got_also_after_it_was_asked_for_again():
    lost = ending(OK, after_seconds=20, unsent_seconds=15, loses_answer=True)
    async with client_of(lost) as (client, publisher):
        async with client.session(new_call_id()) as session:
            await session.transfer("support")
            await session.transfer("support")
        publisher.is_reachable = True
        await asyncio.sleep(1)
        assert publisher.handles[0].was_cancelled


@pytest.mark.parametrize("destination", ["support", "billing"])
@pytest.mark.parametrize(
    "script",
    [
        ending(Reason.ANSWER_LOST),
        ending(OK, after_seconds=600),
        ending(OK, after_seconds=9, loses_answer=True),
    ],
    ids=["unknown", "no outcome yet", "no answer from Redis"],
)
def test_with_redis_away_nobody_hears_that_nothing_was_asked_for_while_an_earlier_transfer_is_open(
    destination, script
):
    async def check():
        client = client_of(script, session_evidence=False)
        async with client as (client, publisher), client.session(new_call_id()) as session:
            caller = Caller()
            await session.transfer("support", say=caller.say)
            publisher.is_reachable = False
            for _ in range(2):
                again = await session.transfer(destination, say=caller.say)
                assert again.state is State.UNKNOWN or again.reason is Reason.TRANSFER_IN_PROGRESS
            assert not any("couldn't transfer" in text for text in caller.texts)

    run_on_fake_time(check())


@on_fake_time
async def test_a_truth_that_comes_late_is_told_also_where_presence_is_no_evidence():
    async with (
        client_of(ending(Reason.ANSWER_LOST), session_evidence=False) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(100)
        publisher.handles[0].settle(OK)
        await asyncio.sleep(11)
        assert caller.texts[-1] == GUIDE[OK].say
        assert len(publisher.intents) == 1


@on_fake_time
async def test_an_outcome_that_is_late_is_waited_for_and_nothing_is_asked_for_meanwhile():
    async with (
        client_of(ending(OK, after_seconds=60)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        answer = await session.transfer("support", say=caller.say)
        assert answer.reason is SessionReason.OUTCOME_NOT_KNOWN
        again = await session.transfer("support", say=caller.say)
        assert again.reason is SessionReason.OUTCOME_NOT_KNOWN
        await asyncio.sleep(50)
        assert caller.texts[-1] == GUIDE[OK].say
        assert publisher.handles[0].reports == []
        assert len(publisher.intents) == 1


@on_fake_time
async def test_the_end_is_evidence_for_an_open_transfer_also_after_redis_was_away():
    async with client_of(ending(Reason.ANSWER_LOST)) as (client, publisher):
        async with client.session(new_call_id()) as session:
            asking = asyncio.create_task(session.transfer("sales"))
            await asyncio.sleep(1)
            publisher.is_reachable = False
            await asking
            await session.transfer("sales")
        publisher.is_reachable = True
        await asyncio.sleep(10)
        assert publisher.handles[0].reports == ["transferred"]


@on_fake_time
async def test_another_destination_leaves_the_withdrawal_of_the_first_one_alone():
    lost = ending(OK, after_seconds=20, unsent_seconds=15, loses_answer=True)
    async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
        await session.transfer("support")
        await session.transfer("billing")
        publisher.is_reachable = True
        await asyncio.sleep(1)
        assert publisher.handles[0].was_cancelled


@pytest.mark.parametrize("destination", ["support", "billing"])
@pytest.mark.parametrize("later_seconds", [3, 40], ids=["at once", "after the repeat window"])
def test_a_request_that_left_though_nobody_heard_of_it_is_not_followed_by_another_while_it_may_ring(
    destination, later_seconds
):
    async def check():
        lost = ending(OK, after_seconds=2, unsent_seconds=1, loses_answer=True)
        async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
            caller = Caller()
            silent = await session.transfer("support", say=caller.say)
            assert silent.reason is SessionReason.QUEUE_SILENT
            await asyncio.sleep(later_seconds)
            publisher.is_reachable = True
            for _ in range(2):
                again = await session.transfer(destination, say=caller.say)
                expected = OK if destination == "support" else Reason.TRANSFER_IN_PROGRESS
                assert again.reason is expected
                await asyncio.sleep(1)
            assert len(publisher.handles) == 1
            assert GUIDE[OK].say in caller.texts
            await asyncio.sleep(200)
            assert (await session.transfer(destination, say=caller.say)).state is State.SUBMITTED
            assert len(publisher.handles) == 2

    run_on_fake_time(check())


@on_fake_time
async def test_a_request_that_is_on_its_way_stands_in_the_way_of_another_though_nobody_heard_of_it():
    lost = ending(OK, after_seconds=9, unsent_seconds=1, loses_answer=True)
    async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
        await session.transfer("support")
        await asyncio.sleep(3)
        publisher.is_reachable = True
        answer = await session.transfer("billing")
        assert answer.reason is Reason.TRANSFER_IN_PROGRESS
        assert len(publisher.handles) == 1


@on_fake_time
async def test_two_questions_at_once_after_a_silence_of_redis_tell_once_what_became_of_it():
    lost = ending(OK, after_seconds=2, unsent_seconds=1, loses_answer=True)
    async with client_of(lost) as (client, publisher), client.session(new_call_id()) as session:
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(3)
        publisher.is_reachable = True
        await asyncio.gather(*(session.transfer("billing", say=caller.say) for _ in range(3)))
        assert caller.texts.count(GUIDE[OK].say) == 1
        assert len(publisher.handles) == 1


@on_fake_time
async def test_a_truth_that_comes_late_lets_it_ring_from_then_on():
    async with (
        client_of(ending(Reason.ANSWER_LOST), session_evidence=False) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        await session.transfer("support")
        await asyncio.sleep(300)
        publisher.handles[0].settle(OK)
        await asyncio.sleep(11)
        assert (await session.transfer("billing")).reason is Reason.TRANSFER_IN_PROGRESS
