"""What the caller hears once the platform says whether anybody picked up, and before. On fake time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from support.calling import OK, Caller, now, on_fake_time, session_of
from support.course import SENTENCE_SECONDS, as_table, hear, list_scenarios
from transfer_tasks.connection import ConnectionReason, ConnectionStatus, ReportSource
from transfer_tasks.outcome import Reason, State
from transfer_tasks.testing import ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import Wording

VOICE = (Path(__file__).parents[4] / "docs" / "voice.md").read_text(encoding="utf-8")
BUSY = "I'm sorry, their line is busy. Shall I try again?"
HEARD_OF = [reason for reason in ConnectionReason if reason is not ConnectionReason.CALLER_GONE]


def test_the_table_of_what_the_caller_hears_second_by_second_is_what_they_hear():
    table = as_table({scenario.name: run_on_fake_time(hear(scenario)) for scenario in list_scenarios()})
    print(table)
    assert table in VOICE


@pytest.mark.parametrize("scenario", list_scenarios(), ids=lambda scenario: scenario.name)
def test_in_no_scenario_a_silence_is_longer_than_eight_seconds_while_something_is_open(scenario):
    heard = run_on_fake_time(hear(scenario, listening_seconds=25))
    silences = [after - before - SENTENCE_SECONDS for (before, _), (after, _) in pairwise(heard)]
    assert max(silences, default=0) <= 8


@pytest.mark.parametrize("rings_seconds", [4, 0.5], ids=["after the answer", "before the answer"])
@pytest.mark.parametrize("announce", ["before", "after"])
@pytest.mark.parametrize("reason", HEARD_OF)
def test_every_reason_is_told_and_the_same_may_be_asked_for_at_once(reason, announce, rings_seconds):
    async def check():
        script = ending(OK, after_seconds=1, connection=reason, rings_seconds=rings_seconds)
        async with session_of(script, announce=announce) as (session, publisher):
            caller = Caller()
            await session.transfer("support", say=caller.say)
            await asyncio.sleep(5)
            assert caller.texts[-1] == Wording().not_connected(reason, "support")
            again = await session.transfer("support", say=caller.say)
            assert not again.is_repeat
            assert again.state is State.SUBMITTED
            assert len(publisher.intents) == 2

    run_on_fake_time(check())


@on_fake_time
async def test_another_destination_may_be_asked_for_too():
    script = ending(OK, connection=ConnectionReason.NO_ANSWER, rings_seconds=2)
    async with session_of(script) as (session, publisher):
        await session.transfer("support", say=Caller().say)
        await asyncio.sleep(3)
        assert (await session.transfer("billing")).state is State.SUBMITTED
    assert len(publisher.intents) == 2


@on_fake_time
async def test_a_report_without_a_reason_of_the_list_is_told_too():
    async with session_of() as (session, publisher):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        publisher.handles[0].report(ConnectionStatus.NOT_CONNECTED)
        await asyncio.sleep(1)
        assert caller.texts[-1] == "I'm sorry, the connection didn't come about. How else can I help?"


@pytest.mark.parametrize(
    "said",
    [
        {"said": ConnectionStatus.CONNECTED},
        {"said": ConnectionReason.CALLER_GONE},
        {"said": ConnectionReason.NO_ANSWER, "caller_gone": True},
    ],
)
def test_nothing_is_said_to_a_caller_who_is_connected_or_gone(said):
    async def check():
        async with session_of() as (session, publisher):
            caller = Caller()
            session.note_speech()
            await session.transfer("support", say=caller.say)
            publisher.handles[0].report(**said)
            await asyncio.sleep(600)
            assert len(caller.texts) == 1

    run_on_fake_time(check())


@on_fake_time
async def test_nothing_is_said_once_the_session_has_ended():
    async with session_of(ending(OK, connection=ConnectionReason.BUSY, rings_seconds=5)) as (session, _):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await session.end()
        await asyncio.sleep(60)
        assert BUSY not in caller.texts


@on_fake_time
async def test_where_nobody_says_anything_nothing_is_claimed_beyond_having_asked():
    async with session_of(announce="before") as (session, _):
        caller = Caller()
        session.note_speech()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(600)
        wording = Wording()
        assert set(caller.texts) <= {wording.announcement("support"), *wording.ringing}


@on_fake_time
async def test_the_word_of_a_person_is_told_and_opens_nothing_that_the_ledger_keeps_closed():
    async with session_of() as (session, publisher):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        publisher.handles[0].report(ConnectionReason.BUSY, source=ReportSource.OPERATOR)
        await asyncio.sleep(1)
        assert caller.texts[-1] == BUSY
        assert (await session.transfer("support", say=caller.say)).is_repeat
    assert len(publisher.intents) == 1


@on_fake_time
async def test_with_redis_away_meanwhile_the_reason_is_told_once_it_can_be_read():
    async with session_of(ending(Reason.ANSWER_LOST), session_evidence=False) as (session, publisher):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        publisher.handles[0].settle(Reason.TRANSFER_CONFIRMED)
        publisher.handles[0].report(ConnectionReason.BUSY)
        await asyncio.sleep(6)
        assert caller.texts[-1] == BUSY
        assert now() < 10
