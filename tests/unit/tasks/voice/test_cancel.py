"""Never mind: what has not left is taken back, and what has left is told as it is. On fake time."""

from __future__ import annotations

import asyncio

import pytest

from support.calling import OK, Caller, now, on_fake_time, session_of
from transfer_tasks.outcome import Reason, State
from transfer_tasks.testing import RecordingPublisher, ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import SessionReason

CALLED_OFF = "All right, I won't connect you."
TOO_LATE = "I'm sorry, your transfer is on its way already, and I can't take it back."


async def ask_then_cancel(session, caller, *, after_seconds):
    asking = asyncio.create_task(session.transfer("support", say=caller.say))
    await asyncio.sleep(after_seconds)
    cancelled = await session.cancel(say=caller.say)
    return cancelled, asking


@on_fake_time
async def test_during_the_announcement_nothing_is_asked_for():
    async with session_of(announce="before") as (session, publisher):
        caller = Caller()
        cancelled, asking = await ask_then_cancel(session, caller, after_seconds=1)
        assert (cancelled.reason, cancelled.told) == (Reason.CANCELLED_BY_SESSION, (CALLED_OFF,))
        assert (await asking).reason is Reason.CANCELLED_BY_SESSION
        await asyncio.sleep(60)
        assert publisher.intents == []
        assert caller.heard[1:] == [(1.0, CALLED_OFF)]


@on_fake_time
async def test_what_waits_on_the_queue_is_withdrawn_and_no_line_is_said_after_it():
    async with session_of(ending(OK, after_seconds=20, unsent_seconds=15)) as (session, publisher):
        caller = Caller()
        cancelled, asking = await ask_then_cancel(session, caller, after_seconds=3)
        assert publisher.handles[0].was_cancelled
        assert cancelled.state is (await asking).state is State.CANCELLED
        await asyncio.sleep(60)
        assert caller.texts[1:] == [CALLED_OFF]


@on_fake_time
async def test_what_is_just_being_put_on_the_queue_is_withdrawn_once_it_is_there():
    class Slow(RecordingPublisher):
        async def submit(self, intent):
            handle = await super().submit(intent)
            await asyncio.sleep(0.5)
            return handle

    slow = Slow(ending(OK, after_seconds=20, unsent_seconds=15))
    async with session_of(publisher=slow) as (session, publisher):
        cancelled, _ = await ask_then_cancel(session, Caller(), after_seconds=0.2)
        assert cancelled.reason is Reason.CANCELLED_BY_SESSION
        assert publisher.handles[0].was_cancelled


@pytest.mark.parametrize(
    ("script", "after_seconds"),
    [
        (ending(OK, after_seconds=20), 3),
        (ending(OK), 3),
        (ending(Reason.ANSWER_LOST), 3),
    ],
    ids=["being sent", "accepted, and may be ringing", "nobody knows"],
)
def test_what_has_left_can_t_be_taken_back_and_everybody_is_told_so(script, after_seconds):
    async def check():
        async with session_of(script) as (session, publisher):
            caller = Caller()
            cancelled, asking = await ask_then_cancel(session, caller, after_seconds=after_seconds)
            assert cancelled.reason is SessionReason.TOO_LATE_TO_CANCEL
            assert caller.texts[-1] == TOO_LATE
            assert cancelled.for_model()["destination"] == "support"
            assert "can't be taken back" in cancelled.for_model()["note"]
            assert not publisher.handles[0].was_cancelled
            assert (await asking).reason is script.reason

    run_on_fake_time(check())


@on_fake_time
async def test_with_nothing_on_its_way_there_is_nothing_to_take_back():
    async with session_of(ending(Reason.RATE_LIMITED)) as (session, _):
        caller = Caller()
        assert (await session.cancel(say=caller.say)).reason is SessionReason.NOTHING_TO_CANCEL
        await session.transfer("support", say=caller.say)
        said = len(caller.texts)
        assert (await session.cancel(say=caller.say)).reason is SessionReason.NOTHING_TO_CANCEL
        await session.end()
        assert (await session.cancel(say=caller.say)).reason is SessionReason.NOTHING_TO_CANCEL
        assert len(caller.texts) == said, "the model finds the words"


@on_fake_time
async def test_with_redis_away_nobody_is_told_that_it_was_taken_back_and_it_is_once_redis_answers():
    async with session_of(ending(OK, after_seconds=40, unsent_seconds=30)) as (session, publisher):
        caller = Caller()
        asyncio.get_running_loop().call_later(1, setattr, publisher, "is_reachable", False)
        cancelled, _ = await ask_then_cancel(session, caller, after_seconds=2)
        assert cancelled.reason is SessionReason.QUEUE_SILENT
        assert CALLED_OFF not in caller.texts
        assert now() == pytest.approx(3), "in time"
        publisher.is_reachable = True
        await asyncio.sleep(1)
        assert publisher.handles[0].was_cancelled


@on_fake_time
async def test_who_has_changed_their_mind_may_ask_again_at_once():
    async with session_of(announce="before") as (session, publisher):
        caller = Caller()
        _, asking = await ask_then_cancel(session, caller, after_seconds=1)
        await asking
        assert (await session.transfer("billing", say=caller.say)).state is State.SUBMITTED
        assert len(publisher.intents) == 1


@on_fake_time
async def test_where_the_model_speaks_it_gets_the_sentence():
    async with session_of(announce="before") as (session, _):
        await ask_then_cancel(session, Caller(), after_seconds=1)
    async with session_of(ending(OK, after_seconds=20, unsent_seconds=15)) as (session, _):
        asking = asyncio.create_task(session.transfer("support"))
        await asyncio.sleep(1)
        assert (await session.cancel()).for_model()["say_to_caller"] == CALLED_OFF
        await asking
