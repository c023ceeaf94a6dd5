"""An unknown outcome: what a call that goes on proves, and when. On fake time."""

from __future__ import annotations

import asyncio

import pytest

from support.calling import RING_SECONDS, Caller, client_of, new_call_id, now, on_fake_time
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import ending
from transfer_tasks.testing.clock import run_on_fake_time


@on_fake_time
async def test_an_unknown_outcome_is_told_at_once_and_settled_only_when_nothing_can_ring_any_more():
    async with (
        client_of(ending(Reason.ANSWER_LOST, after_seconds=5)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        answer = await session.transfer("support", say=caller.say)
        assert (answer.reason, now()) == (Reason.ANSWER_LOST, 5.0)
        assert "can't tell yet" in caller.texts[-1]
        assert not answer.phrase.may_retry
        await asyncio.sleep(RING_SECONDS + 6 - 0.1)
        assert publisher.handles[0].reports == [], "until then the target may be ringing"
        await asyncio.sleep(0.2)
        assert publisher.handles[0].reports == ["not_transferred"]
        assert caller.heard[-1] == (5.0 + RING_SECONDS + 6, GUIDE[Reason.NOT_TRANSFERRED].say)
        await asyncio.sleep(600)
        assert len(publisher.intents) == 1, "evidence starts no request"


@pytest.mark.parametrize(
    ("destination", "after_seconds"), [("support", 26), ("billing", 126), ("sales", None)]
)
def test_presence_counts_after_the_requests_own_ring_time_or_the_platforms_or_never(
    destination, after_seconds
):
    async def check():
        async with (
            client_of(ending(Reason.ANSWER_LOST)) as (client, publisher),
            client.session(new_call_id()) as session,
        ):
            await session.transfer(destination)
            for _ in range(10_000):
                await asyncio.sleep(1)
                if publisher.handles[0].reports:
                    break
            assert (round(now()) if publisher.handles[0].reports else None) == after_seconds

    run_on_fake_time(check())


@on_fake_time
async def test_who_asks_while_the_outcome_is_unknown_hears_so_and_nothing_is_asked_for():
    async with (
        client_of(ending(Reason.ANSWER_LOST)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(10)
        again = await session.transfer("support", say=caller.say)
        other = await session.transfer("billing", say=caller.say)
        assert (again.reason, again.is_repeat) == (Reason.ANSWER_LOST, True)
        assert other.reason is Reason.TRANSFER_IN_PROGRESS
        assert len(publisher.intents) == 1
        assert len(caller.texts) == 1, "the truth is said once"
        await asyncio.sleep(RING_SECONDS)
        assert (await session.transfer("support", say=caller.say)).state is State.SUBMITTED
        assert [intent.transfer_id for intent in publisher.intents][1] == publisher.handles[1].transfer_id
        assert (await publisher.handles[1].outcome()).hop == 2


@on_fake_time
async def test_a_truth_that_comes_from_elsewhere_is_told_as_soon_as_it_is_seen():
    async with (
        client_of(ending(Reason.ANSWER_LOST)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        publisher.handles[0].settle(Reason.CALL_NOT_FOUND)
        await asyncio.sleep(6)
        assert (await session.transfer("support")).state is State.SUBMITTED, "the first one is over"
        assert publisher.handles[0].reports == []


@on_fake_time
async def test_evidence_waits_for_a_ledger_that_is_away():
    async with (
        client_of(ending(Reason.ANSWER_LOST)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        publisher.is_reachable = False
        await asyncio.sleep(300)
        assert len(caller.texts) == 1
        publisher.is_reachable = True
        await asyncio.sleep(2)
        assert publisher.handles[0].reports == ["not_transferred"]
        assert caller.texts[-1] == GUIDE[Reason.NOT_TRANSFERRED].say


@on_fake_time
async def test_only_the_unsafe_setting_asks_once_more_and_only_once():
    lost = ending(Reason.ANSWER_LOST)
    async with (
        client_of(lost, lost, session_evidence_retry=True) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(600)
        assert [handle.reports for handle in publisher.handles] == [["not_transferred"]] * 2
        assert caller.texts[-1] == GUIDE[Reason.NOT_TRANSFERRED].say
        assert len(publisher.intents) == 2


@on_fake_time
async def test_one_setting_switches_all_evidence_off():
    async with client_of(ending(Reason.ANSWER_LOST), session_evidence=False) as (client, publisher):
        async with client.session(new_call_id()) as session:
            caller = Caller()
            answer = await session.transfer("support", say=caller.say)
            assert answer.reason is Reason.ANSWER_LOST
            assert not answer.phrase.may_retry
            assert "can't tell" in caller.texts[0]
        await asyncio.sleep(60)
        assert publisher.handles[0].reports == []
        assert len(publisher.intents) == 1
