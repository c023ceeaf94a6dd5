"""One call's transfers: one at a time, the truth in time, and what a session's end means. On fake time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from functools import wraps

import pytest

from support.fast_loop import run_fast
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.testing import RecordingPublisher, ending
from transfer_tasks.voice import Choice, SessionReason, TransferClient, VoiceSettings, Wording

RING_SECONDS = 20
SUPPORT = [
    {
        "action": "connect",
        "endpoints": [{"type": "pstn", "number": "+12025550141"}],
        "params": {"options": {"ring_timeout_sec": RING_SECONDS}},
    }
]
CHOICES = [
    Choice(name="support", description="Faults and questions", to=SUPPORT),
    Choice(name="billing", description="Invoices", to="+12025550142"),
    Choice(name="sales", description="Offers"),
]
OK = Reason.ACCEPTED_BY_PLATFORM


def on_fake_time(test):
    @wraps(test)
    def run(*args, **kwargs):
        run_fast(test(*args, **kwargs))

    return run


def now():
    return asyncio.get_running_loop().time()


class Caller:
    """Hears what the session says, and when."""

    def __init__(self):
        self.heard = []

    async def say(self, text):
        self.heard.append((round(now(), 3), text))

    @property
    def texts(self):
        return [text for _, text in self.heard]


@contextlib.asynccontextmanager
async def client_of(*script, wording=None, **settings):
    publisher = RecordingPublisher(*script)
    client = TransferClient(
        publisher,
        choices=CHOICES,
        settings=VoiceSettings(_env_file=None, **settings),
        wording=wording,
    )
    async with client:
        yield client, publisher


def new_call_id():
    return str(uuid.uuid4())


@on_fake_time
async def test_a_submitted_transfer_ends_with_the_goodbye_line():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        caller = Caller()
        answer = await session.transfer("support", reason="wants a refund", say=caller.say)
        assert answer.state is State.SUBMITTED
        assert caller.heard == [(0.0, GUIDE[OK].say)]
        assert answer.ends_conversation
        assert publisher.intents[0].reason == "wants a refund"
        assert publisher.intents[0].call_id == session.call_id


@on_fake_time
async def test_a_caller_who_waits_longer_hears_one_holding_line_after_a_second_and_a_half():
    async with (
        client_of(ending(OK, after_seconds=12)) as (client, _),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert caller.heard == [(1.5, "One moment, please. I'm connecting you."), (12.0, GUIDE[OK].say)]
        await asyncio.sleep(30)
        assert len(caller.heard) == 2


@on_fake_time
async def test_no_holding_line_comes_after_the_answer():
    async with client_of() as (client, _), client.session(new_call_id()) as session:
        caller = Caller()
        await session.transfer("support", say=caller.say)
        await asyncio.sleep(30)
        assert caller.texts == [GUIDE[OK].say]


@on_fake_time
async def test_holding_lines_can_be_several_or_none():
    several = Wording(holding=("a", "b", "c"))
    async with (
        client_of(ending(OK, after_seconds=12), wording=several) as (client, _),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert caller.heard[:-1] == [(1.5, "a"), (9.5, "b")]
    async with (
        client_of(ending(OK, after_seconds=12), wording=Wording(holding=())) as (client, _),
        client.session(new_call_id()) as session,
    ):
        caller = Caller()
        await session.transfer("support", say=caller.say)
        assert len(caller.heard) == 1


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

    run_fast(check())


def test_every_reason_has_a_note_and_nothing_unknown_is_said_to_have_failed_or_worked():
    wording = Wording()
    for reason in [*Reason, *SessionReason]:
        phrase = wording.phrase(reason)
        assert phrase.note
        if phrase.state is State.UNKNOWN:
            assert phrase.speaks
            assert "couldn't" not in phrase.say
            assert "transferring you" not in phrase.say


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
            assert not answer.ends_conversation, "the model says goodbye"


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
async def test_the_same_request_on_the_next_turn_gets_the_first_answer():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        first = await session.transfer("support")
        await asyncio.sleep(20)
        again = await session.transfer("support")
        assert again.is_repeat
        assert again.outcome == first.outcome
        assert len(publisher.intents) == 1


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

    run_fast(check())


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

    run_fast(check())


@on_fake_time
async def test_a_long_reason_is_cut_and_a_dirty_one_cleaned():
    async with client_of() as (client, publisher), client.session(new_call_id()) as session:
        answer = await session.transfer("support", reason="a\nb" * 400)
        assert answer.state is State.SUBMITTED
        assert len(publisher.intents[0].reason) <= 500
        assert "\n" not in publisher.intents[0].reason


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

    run_fast(check())


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


@on_fake_time
async def test_a_fault_of_our_own_becomes_an_answer_too():
    async with client_of(ZeroDivisionError()) as (client, _), client.session(new_call_id()) as session:
        answer = await session.transfer("support")
        assert answer.reason is SessionReason.INTERNAL_ERROR
        assert answer.for_model()


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

    run_fast(check())


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
    client = TransferClient(publisher, choices=CHOICES, settings=VoiceSettings(_env_file=None))
    async with client:
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

    run_fast(check())


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
        assert answer.reason is SessionReason.SESSION_ENDED
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


@on_fake_time
async def test_of_many_requests_at_once_one_passes_in_each_round_of_the_loop():
    rounds, seen = 0, []

    class Watching(RecordingPublisher):
        async def submit(self, intent):
            seen.append(rounds)
            return await super().submit(intent)

    async def count_rounds():
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    client = TransferClient(Watching(), choices=CHOICES, settings=VoiceSettings(_env_file=None))
    async with client:
        counting = asyncio.create_task(count_rounds())
        await asyncio.gather(*(client.session(new_call_id()).transfer("support") for _ in range(50)))
        counting.cancel()
    assert len(set(seen)) == 50
