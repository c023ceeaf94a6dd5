"""One call's transfers: what is asked for, and what the caller hears. On fake time."""

from __future__ import annotations

import asyncio

import pytest

from support.calling import OK, Caller, client_of, new_call_id, on_fake_time
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import Choice, SessionReason, Wording


@on_fake_time
async def test_a_submitted_transfer_ends_with_what_is_true_and_no_goodbye():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        caller = Caller()
        answer = await session.transfer("support", reason="wants a refund", say=caller.say)
        assert answer.state is State.SUBMITTED
        assert caller.heard == [(0.0, "I've asked for the connection. One moment, please.")]
        assert answer.ends_conversation
        assert publisher.intents[0].reason == "wants a refund"
        assert publisher.intents[0].call_id == session.call_id


@pytest.mark.parametrize(
    "reason",
    [reason for reason in Reason if reason not in {Reason.NOT_TRANSFERRED, Reason.TRANSFER_CONFIRMED}],
)
def test_every_reason_is_said_and_noted_as_the_wording_has_it(reason):
    async def check():
        async with (
            client_of(ending(reason), session_evidence=False) as (client, _),
            client.session(new_call_id()) as session,
        ):
            caller = Caller()
            answer = await session.transfer("support", say=caller.say)
            phrase = client.wording.phrase(reason)
            assert (answer.reason, answer.state) == (reason, GUIDE[reason].state)
            assert caller.texts == ([phrase.say] if phrase.speaks else [])
            seen_by_model = answer.for_model()
            assert seen_by_model["note"] == phrase.note
            assert seen_by_model["may_try_again"] is GUIDE[reason].may_retry
            assert seen_by_model["may_try_other_destination"] is GUIDE[reason].may_try_other
            assert answer.ends_conversation is (reason is OK)

    run_on_fake_time(check())


def test_every_reason_has_a_note_and_nothing_unknown_is_said_to_have_failed_or_worked():
    wording = Wording()
    for reason in [*Reason, *SessionReason]:
        phrase = wording.phrase(reason)
        assert phrase.note
        if phrase.state is State.UNKNOWN:
            assert phrase.speaks
            assert "couldn't" not in phrase.say
            assert "asked for the connection" not in phrase.say


@on_fake_time
async def test_every_sentence_and_note_can_be_replaced_or_silenced():
    wording = Wording(say={Reason.RATE_LIMITED: "Später.", OK: None}, notes={Reason.RATE_LIMITED: "Warte."})
    async with client_of(ending(Reason.RATE_LIMITED), wording=wording) as (client, _):
        async with client.session(new_call_id()) as session:
            caller = Caller()
            answer = await session.transfer("support", say=caller.say)
            assert caller.texts == ["Später."]
            assert answer.for_model()["note"] == "Warte."
        async with client.session(new_call_id()) as session:
            caller = Caller()
            answer = await session.transfer("support", say=caller.say)
            assert caller.texts == []
            assert not answer.ends_conversation, "nobody has told the caller: the model does"


@on_fake_time
async def test_two_requests_at_once_are_one_transfer_with_one_answer_said_once():
    async with (
        client_of(ending(OK, after_seconds=1)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        first, second = await asyncio.gather(
            session.transfer("support", say=caller.say), session.transfer("support", say=caller.say)
        )
        assert len(publisher.intents) == 1
        assert (first.is_repeat, second.is_repeat) == (False, True)
        assert first.outcome == second.outcome
        assert second.ends_conversation
        assert caller.texts == [GUIDE[OK].say]


@on_fake_time
async def test_another_destination_meanwhile_or_just_after_is_told_that_one_is_in_progress():
    async with (
        client_of(ending(OK, after_seconds=1)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        first, second = await asyncio.gather(
            session.transfer("support", say=caller.say), session.transfer("billing", say=caller.say)
        )
        third = await session.transfer("billing", say=caller.say)
        assert first.state is State.SUBMITTED
        assert second.reason is third.reason is Reason.TRANSFER_IN_PROGRESS
        assert len(publisher.intents) == 1
        assert caller.texts == [GUIDE[OK].say]


@pytest.mark.parametrize(("first", "rings_seconds"), [("support", 20), ("billing", 120), ("sales", 120)])
@pytest.mark.parametrize("then", ["support", "billing"])
def test_a_call_that_is_still_here_is_not_transferred_again_while_its_target_may_be_ringing(
    first, rings_seconds, then
):
    async def check():
        async with (
            client_of(repeat_window_seconds=10) as (client, publisher),
            client.session(new_call_id()) as session,
        ):
            await session.transfer(first)
            await asyncio.sleep(rings_seconds + 6 - 0.1)
            answer = await session.transfer(then)
            assert answer.reason is Reason.TRANSFER_IN_PROGRESS
            assert "ringing" in answer.for_model()["note"]
            assert not answer.ends_conversation, "somebody has to speak"
            assert len(publisher.intents) == 1
            await asyncio.sleep(0.2)
            assert (await session.transfer(then)).state is State.SUBMITTED
            assert len(publisher.intents) == 2

    run_on_fake_time(check())


@on_fake_time
async def test_a_failed_transfer_may_be_asked_for_again_at_once():
    async with (
        client_of(ending(Reason.RATE_LIMITED)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        assert (await session.transfer("support")).phrase.may_retry
        assert (await session.transfer("support")).state is State.SUBMITTED
        assert len(publisher.intents) == 2


@on_fake_time
async def test_a_made_up_destination_is_refused_here_and_nothing_is_said_to_the_caller():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        caller = Caller()
        for made_up in ("+12025550143", "marketing", "", "agent:3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"):
            answer = await session.transfer(made_up, say=caller.say)
            assert answer.reason is SessionReason.NO_SUCH_DESTINATION
        assert caller.texts == []
        assert publisher.intents == []


@pytest.mark.parametrize("call_id", [None, "", "call-17"])
def test_a_session_without_a_usable_call_id_says_so_when_it_is_asked_and_not_before(call_id):
    async def check():
        async with client_of() as (client, publisher), client.session(call_id) as session:
            caller = Caller()
            answer = await session.transfer("support", say=caller.say)
            assert answer.reason is SessionReason.INVALID_REQUEST
            assert len(caller.texts) == 1
            assert publisher.intents == []

    run_on_fake_time(check())


@on_fake_time
async def test_a_long_reason_is_cut_and_a_dirty_one_cleaned():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        answer = await session.transfer("support", reason="a\nb" * 400)
        assert answer.state is State.SUBMITTED
        assert len(publisher.intents[0].reason) <= 500
        assert "\n" not in publisher.intents[0].reason


@on_fake_time
async def test_whatever_the_frameworks_speech_raises_the_answer_comes_through():
    async def broken(_):
        raise RuntimeError("no pipeline")

    async def stuck(_):
        await asyncio.sleep(1000)

    async with client_of() as (client, _):
        for say in (broken, stuck):
            async with client.session(new_call_id()) as session:
                answer = await session.transfer("support", say=say)
                assert answer.state is State.SUBMITTED
                assert not answer.was_said
                assert not answer.ends_conversation
                assert answer.for_model()["say_to_caller"] == GUIDE[OK].say


@on_fake_time
async def test_whatever_a_publisher_raises_the_request_may_be_queued_and_is_followed():
    async with (
        client_of(ZeroDivisionError()) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        answer = await session.transfer("support")
        assert answer.reason is SessionReason.QUEUE_SILENT
        assert answer.for_model()
        assert answer.transfer_id == publisher.intents[0].transfer_id


@on_fake_time
async def test_a_fault_of_our_own_becomes_an_answer_too(monkeypatch):
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        monkeypatch.setattr(Choice, "intent", lambda *_, **__: 1 / 0)
        answer = await session.transfer("support")
        assert answer.reason is SessionReason.INTERNAL_ERROR
        assert answer.for_model()
    assert not publisher.intents


@on_fake_time
async def test_a_cancelled_request_leaves_the_transfer_running_and_the_next_one_joins_it():
    async with (
        client_of(ending(OK, after_seconds=3)) as (client, publisher),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        cut_off = asyncio.create_task(session.transfer("support", say=caller.say))
        await asyncio.sleep(1)
        cut_off.cancel()
        await asyncio.sleep(0.1)
        answer = await session.transfer("support", say=caller.say)
        assert answer.state is State.SUBMITTED
        assert len(publisher.intents) == 1
        assert caller.texts[-1] == GUIDE[OK].say
