"""Nobody waits in silence: lines while it takes long, answers to who asks again, what was not spoken."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from support.calling import OK, RING_SECONDS, Caller, client_of, new_call_id, now, on_fake_time, session_of
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import SessionReason, Wording

HOLDING = Wording().holding
RINGING = Wording().ringing
UNSURE = Wording().unsure
REPEATED = "I've already asked for the connection to support. Please stay on the line."
LONGEST_SILENCE_SECONDS = 8.0


@on_fake_time
async def test_a_caller_who_waits_hears_the_holding_lines_in_turn_and_none_after_the_answer():
    async with session_of(ending(OK, after_seconds=17)) as (session, _):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(600)
        assert caller.heard == [
            (1.5, HOLDING[0]),
            (8.5, HOLDING[1]),
            (15.5, HOLDING[0]),
            (17.0, GUIDE[OK].say),
        ]


@on_fake_time
async def test_after_an_announcement_the_first_holding_line_waits_for_a_long_silence():
    async with session_of(ending(OK, after_seconds=12), announce="before") as (session, _):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert [at for at, _ in caller.heard] == [0.0, 7.0, 14.0]


@pytest.mark.parametrize("announce", ["before", "after"])
@pytest.mark.parametrize("reason", [OK, Reason.ANSWER_LOST, Reason.RATE_LIMITED])
@pytest.mark.parametrize("after_seconds", [0.0, 10.0, 28.0])
def test_no_silence_is_longer_than_eight_seconds_until_the_answer(announce, reason, after_seconds):
    async def check():
        scripted = ending(reason, after_seconds=after_seconds)
        async with session_of(scripted, announce=announce) as (session, _):
            caller = Caller()
            await session.transfer("support", say=caller.say)
            moments = [0.0, *(at for at, _ in caller.heard), now()]
            assert max(after - before for before, after in pairwise(moments)) <= LONGEST_SILENCE_SECONDS

    run_on_fake_time(check())


@on_fake_time
async def test_with_redis_lost_while_a_caller_waits_they_hear_the_truth_after_eight_seconds():
    async with session_of(ending(OK, after_seconds=10)) as (session, publisher):
        caller = Caller()
        asking = asyncio.create_task(session.transfer("support", say=caller.say))
        await asyncio.sleep(1)
        publisher.is_reachable = False
        answer = await asking
        assert answer.reason is SessionReason.OUTCOME_NOT_KNOWN
        assert caller.texts[-1] == Wording().phrase(answer.reason).say
        assert caller.heard[-1][0] <= 1 + LONGEST_SILENCE_SECONDS
        await asyncio.sleep(2)
        publisher.is_reachable = True
        await asyncio.sleep(12)
        assert caller.texts[-1] == GUIDE[OK].say, "and what is true later, as soon as it is known"
        assert len(publisher.intents) == 1


@on_fake_time
async def test_redis_that_is_away_for_a_moment_is_not_lost():
    async with session_of(ending(OK, after_seconds=10)) as (session, publisher):
        asking = asyncio.create_task(session.transfer("support", say=Caller().say))
        await asyncio.sleep(1)
        publisher.is_reachable = False
        await asyncio.sleep(5)
        publisher.is_reachable = True
        assert (await asking).state is State.SUBMITTED


async def ask_and_listen(session, caller, *, seconds, speaks_every=None):
    """Ask for a transfer, then let a framework report speech so often."""
    session.note_speech()
    await session.transfer("support", say=caller.say)
    for _ in range(int(seconds / (speaks_every or seconds))):
        await asyncio.sleep(speaks_every or seconds)
        session.note_speech()


@pytest.mark.parametrize(("reason", "lines"), [(OK, RINGING), (Reason.ANSWER_LOST, UNSURE)])
def test_the_silences_after_an_open_answer_are_broken_while_it_may_ring_and_not_longer(reason, lines):
    async def check():
        async with session_of(ending(reason), session_evidence_grace_seconds=0) as (session, _):
            caller = Caller()
            await ask_and_listen(session, caller, seconds=RING_SECONDS - 1)
            assert caller.heard[1:] == [(7.0, lines[0]), (14.0, lines[1])]
            await asyncio.sleep(2)
            said = len(caller.heard)
            await asyncio.sleep(600)
            assert len(caller.heard) == said

    run_on_fake_time(check())


@on_fake_time
async def test_a_conversation_that_goes_on_is_not_spoken_into():
    async with session_of() as (session, _):
        caller = Caller()
        await ask_and_listen(session, caller, seconds=RING_SECONDS, speaks_every=5)
        assert caller.texts == [GUIDE[OK].say]


@on_fake_time
async def test_where_nobody_reports_speech_the_session_keeps_out_of_the_conversation():
    async with session_of() as (session, _):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(600)
        assert caller.texts == [GUIDE[OK].say]


@on_fake_time
async def test_nothing_is_said_to_a_caller_who_is_gone():
    async with client_of() as (client, _):
        caller = Caller()
        async with client.session(new_call_id()) as session:
            await ask_and_listen(session, caller, seconds=1)
        await asyncio.sleep(600)
        assert caller.texts == [GUIDE[OK].say]


@on_fake_time
async def test_holding_lines_may_be_left_out():
    async with session_of(ending(OK, after_seconds=20), wording=Wording(holding=())) as (session, _):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert caller.texts == [GUIDE[OK].say]


@on_fake_time
async def test_who_asks_again_in_the_window_hears_what_is_on_its_way_and_so_does_the_model():
    async with session_of(announce="before") as (session, publisher):
        caller = Caller()
        first = await session.transfer("support", say=caller.say)
        await asyncio.sleep(20)
        again = await session.transfer("support", say=caller.say)
        assert caller.texts[1:] == [REPEATED]
        assert again.is_repeat
        assert again.outcome == first.outcome
        assert again.ends_conversation, "the caller has heard a sentence"
        seen_by_model = again.for_model()
        assert seen_by_model["destination"] == "support"
        assert seen_by_model["caller_was_told"] == REPEATED
        assert "asked for already" in seen_by_model["note"]
        assert len(publisher.intents) == 1


@on_fake_time
async def test_a_repeat_that_the_session_cannot_speak_is_the_models_to_tell():
    async with session_of() as (session, _):
        await session.transfer("support", say=Caller().say)
        again = await session.transfer("support")
        assert not again.ends_conversation
        assert again.for_model()["say_to_caller"] == REPEATED


@on_fake_time
async def test_who_asks_for_somebody_else_meanwhile_is_told_by_a_model_that_knows_what_is_on_its_way():
    async with session_of() as (session, _):
        await session.transfer("support", say=Caller().say)
        other = await session.transfer("billing", say=Caller().say)
        assert other.reason is Reason.TRANSFER_IN_PROGRESS
        assert other.for_model()["destination"] == "support"
        assert not other.ends_conversation


@on_fake_time
async def test_who_asks_again_while_the_first_request_is_on_its_way_hears_a_line_at_once():
    async with session_of(ending(OK, after_seconds=20)) as (session, publisher):
        caller = Caller()
        first = asyncio.create_task(session.transfer("support", say=caller.say))
        await asyncio.sleep(4)
        second = asyncio.create_task(session.transfer("support", say=caller.say))
        third = asyncio.create_task(session.transfer("support", say=caller.say))
        await asyncio.sleep(0.1)
        assert caller.heard == [(1.5, HOLDING[0]), (4.0, HOLDING[1])], "one line, however often it is asked"
        await asyncio.wait({first, second, third})
        assert len(publisher.intents) == 1


async def broken(_):
    raise RuntimeError("no pipeline")


@pytest.mark.parametrize("say", [None, broken], ids=["the model speaks", "speech is broken"])
@pytest.mark.parametrize("announce", ["before", "after"])
@pytest.mark.parametrize("reason", list(Reason))
def test_what_was_not_spoken_is_never_marked_as_told_and_the_model_gets_the_sentence(say, announce, reason):
    async def check():
        async with session_of(ending(reason), announce=announce, session_evidence=False) as (session, _):
            answer = await session.transfer("support", say=say)
            assert answer.told == ()
            assert not answer.ends_conversation
            seen_by_model = answer.for_model()
            assert "caller_was_told" not in seen_by_model
            assert seen_by_model.get("say_to_caller") == Wording().phrase(reason).say

    run_on_fake_time(check())


@on_fake_time
async def test_a_voice_that_breaks_after_the_announcement_leaves_the_rest_to_the_model():
    caller = Caller()

    async def say(text):
        if caller.heard:
            raise RuntimeError("no pipeline")
        await caller.say(text)

    async with session_of(ending(Reason.RATE_LIMITED), announce="before") as (session, _):
        answer = await session.transfer("support", say=say)
        assert answer.for_model()["caller_was_told"] == caller.texts[0]
        assert answer.for_model()["say_to_caller"] == GUIDE[Reason.RATE_LIMITED].say
        assert not answer.was_said
