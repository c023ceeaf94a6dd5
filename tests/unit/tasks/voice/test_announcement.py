"""What is about to happen is heard before it is asked for, and can be stopped till then. On fake time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from support.calling import OK, Caller, client_of, new_call_id, now, on_fake_time, session_of
from transfer_tasks.errors import InvalidIntent
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import RecordingPublisher, ending
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import SessionReason, Wording

ANNOUNCED = "I'm connecting you to support now, one moment."


class ReportingCaller(Caller):
    """A caller whose framework reports when a sentence is over: after so long, or when they interrupt."""

    def __init__(self, sentence_seconds: float) -> None:
        super().__init__()
        self.interrupts = asyncio.Event()
        self._sentence_seconds = sentence_seconds

    async def say(self, text: str) -> object:
        await super().say(text)
        return self._listen()

    async def _listen(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._sentence_seconds):
                await self.interrupts.wait()


def asked_at(publisher: RecordingPublisher) -> list[float]:
    return [round(handle.submitted_at, 3) for handle in publisher.handles]


@on_fake_time
async def test_the_request_goes_out_when_the_sentence_has_been_heard_as_the_framework_reports():
    async with session_of(announce="before") as (session, publisher):
        caller = ReportingCaller(2.2)
        answer = await session.transfer("support", say=caller.say)
        assert caller.heard == [(0.0, ANNOUNCED)], "accepted is not connected: nothing more to say"
        assert asked_at(publisher) == [2.2]
        assert answer.ends_conversation
        assert answer.for_model()["caller_was_told"] == ANNOUNCED


@on_fake_time
async def test_where_the_framework_reports_nothing_a_sentence_takes_as_long_as_the_setting_says():
    settings = {"announce": "before", "announce_seconds": 2.5}
    async with session_of(**settings) as (session, publisher):
        await session.transfer("support", say=Caller().say)
        assert asked_at(publisher) == [2.5]


@on_fake_time
async def test_a_framework_that_never_reports_the_end_is_not_waited_for_for_ever():
    async with session_of(announce="before") as (session, publisher):
        await session.transfer("support", say=ReportingCaller(1000).say)
        assert asked_at(publisher) == [8.0]


@on_fake_time
async def test_a_caller_who_interrupts_the_sentence_is_connected_all_the_same():
    async with session_of(announce="before") as (session, publisher):
        caller = ReportingCaller(4)
        asyncio.get_running_loop().call_later(1, caller.interrupts.set)
        assert (await session.transfer("support", say=caller.say)).state is State.SUBMITTED
        assert asked_at(publisher) == [1.0]


@on_fake_time
async def test_the_deadline_counts_from_the_request_and_not_from_the_sentence():
    settings = {"announce": "before", "announce_seconds": 6.0, "expires_in_seconds": 5}
    async with session_of(**settings) as (session, publisher):
        answer = await session.transfer("support", say=Caller().say)
        assert answer.state is State.SUBMITTED
    intent = publisher.intents[0]
    assert intent.remaining_seconds() > 4, "built before the sentence, it would have expired with it"


@pytest.mark.parametrize("how", ["end", "leave", "cancelled"])
@pytest.mark.parametrize("after_seconds", [0.0, 1.0, 2.9])
def test_a_session_that_ends_during_the_sentence_has_asked_for_nothing(how, after_seconds):
    async def check():
        async with client_of(announce="before") as (client, publisher):
            asking = None

            async def live():
                nonlocal asking
                async with client.session(new_call_id()) as session:
                    asking = asyncio.create_task(session.transfer("support", say=Caller().say))
                    await asyncio.sleep(after_seconds)
                    if how == "end":
                        await session.end()
                    if how == "cancelled":
                        await asyncio.sleep(1000)

            life = asyncio.create_task(live())
            await asyncio.sleep(after_seconds)
            if how == "cancelled":
                life.cancel()
            await asyncio.wait({life})
            ended_at = now()
            assert (await asking).reason is SessionReason.SESSION_ENDED
            await asyncio.sleep(60)
            assert publisher.intents == []
            assert ended_at == pytest.approx(after_seconds)

    run_on_fake_time(check())


@on_fake_time
async def test_what_the_process_knows_against_a_request_is_known_before_the_sentence():
    class Strict(RecordingPublisher):
        async def check(self, intent):
            raise InvalidIntent(field="destination", value="…", problem="is not allowed", fix="Ask.")

    async with client_of(announce="before", publisher=Strict()) as (client, publisher):
        for call_id in (new_call_id(), "no call id"):
            async with client.session(call_id) as session:
                caller = Caller()
                answer = await session.transfer("support", say=caller.say)
                assert answer.reason is SessionReason.INVALID_REQUEST
                assert caller.heard == [(0.0, "I'm sorry, I couldn't transfer you just now.")]
    assert publisher.intents == []


@on_fake_time
async def test_nothing_is_announced_for_a_name_that_is_not_on_offer_or_for_a_session_that_is_over():
    caller = Caller()
    async with session_of(announce="before") as (session, _):
        await session.transfer("my cousin", say=caller.say)
        await session.end()
        await session.transfer("support", say=caller.say)
    assert not any("connecting" in text for text in caller.texts)


@on_fake_time
async def test_two_tool_calls_of_one_turn_are_announced_once():
    async with session_of(announce="before") as (session, publisher):
        caller = Caller()
        asks = (session.transfer(name, say=caller.say) for name in ("support", "support", "billing"))
        first, second, other = await asyncio.gather(*asks)
        assert caller.texts == [ANNOUNCED]
        assert first.ends_conversation
        assert second.is_repeat
        assert other.reason is Reason.TRANSFER_IN_PROGRESS
        assert len(publisher.intents) == 1


@on_fake_time
async def test_a_failure_after_the_announcement_is_told_and_the_conversation_goes_on():
    scripted = client_of(ending(Reason.RATE_LIMITED, after_seconds=1), announce="before")
    async with scripted as (client, _), client.session(new_call_id()) as session:
        caller = Caller()
        answer = await session.transfer("support", say=caller.say)
        assert caller.heard == [(0.0, ANNOUNCED), (4.0, GUIDE[Reason.RATE_LIMITED].say)]
        assert not answer.ends_conversation
        assert answer.for_model()["caller_was_told"] == " ".join(caller.texts)


@on_fake_time
async def test_an_acceptance_that_comes_after_the_caller_was_told_that_nobody_knows_is_told():
    async with session_of(ending(Reason.ANSWER_LOST), announce="before") as (session, publisher):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        publisher.handles[0].settle(OK)
        await asyncio.sleep(6)
        assert caller.texts[-1] == "I've asked for the connection. One moment, please."


@on_fake_time
async def test_the_announcement_names_the_destination_as_the_wording_calls_it():
    wording = Wording(destinations={"support": "our technicians"})
    async with session_of(announce="before", wording=wording) as (session, _):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert caller.texts == ["I'm connecting you to our technicians now, one moment."]


@on_fake_time
async def test_without_an_announcement_the_request_goes_out_at_once_and_the_caller_hears_of_it():
    async with session_of(announce="before", wording=Wording(announcement="")) as (session, publisher):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert asked_at(publisher) == [0.0]
        assert caller.texts == [GUIDE[OK].say]


def test_no_sentence_says_goodbye():
    for language in ("en", "hi"):
        wording = Wording.for_language(language)
        sentences = [wording.announcement("support"), *wording.holding, *wording.ringing, *wording.unsure]
        sentences += [wording.phrase(reason).say or "" for reason in (*Reason, *SessionReason)]
        assert not any(word in text for text in sentences for word in ("bye", "अलविदा", "नमस्ते"))
