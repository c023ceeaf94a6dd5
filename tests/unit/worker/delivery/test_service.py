"""What happens to one intent, from the bell to the outcome: every branch, with fakes and a clock by hand."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.message import Notification, Request
from transfer_worker.delivery.retry import RetryPolicy
from transfer_worker.delivery.service import Performed, TransferService
from transfer_worker.errors import NotCarriedOut, NotPermitted, OutcomeUnknown, Refused
from transfer_worker.testing import QUEUED, FakeClock, FakeGateway, FakeLedger, FakeRecord

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PIPELINE = [{"action": "connect", "params": {}, "endpoints": []}]


@dataclass
class AllowAll:
    """Rules that let everything through, or refuse it all."""

    refusal: NotPermitted | None = None
    asked: list[TransferIntent] = field(default_factory=list)

    def route(self, intent: TransferIntent) -> list[dict[str, Any]]:
        self.asked.append(intent)
        if self.refusal:
            raise self.refusal
        return PIPELINE


class Stage:
    """A service and everything around it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = FakeLedger(self.clock)
        self.gateway = FakeGateway(self.clock)
        self.policy = AllowAll()
        self.service = TransferService(
            ledger=self.ledger,
            gateway=self.gateway,
            policy=self.policy,
            clock=self.clock,
            retry=RetryPolicy(max_attempts=4),
            write_within_seconds=1.0,
        )
        self.transfer_id = str(uuid.uuid4())

    def publish(self, *, remaining_seconds: float = 15.0) -> FakeRecord:
        intent = TransferIntent(transfer_id=self.transfer_id, call_id=CALL_ID, destination="support")
        return self.ledger.add(intent, remaining_seconds=remaining_seconds)

    def perform(self, asked: Any = None, *, copy: str = "") -> Performed:
        if asked is not None:
            return self.service.perform(Request(transfer_id=self.transfer_id, asked=asked))
        return self.service.perform(Notification(transfer_id=self.transfer_id, copy=copy))

    def on(self, step: str, act: Any, *, occurrence: int = 1) -> None:
        """Do something right before the n-th time of a step."""
        count = 0

        def before(name: str) -> None:
            nonlocal count
            count += name == step
            if name == step and count == occurrence:
                act()

        self.ledger.before_step = before


@pytest.fixture
def stage() -> Stage:
    return Stage()


def unavailable(**fields: Any) -> NotCarriedOut:
    return NotCarriedOut(reason=Reason.PLATFORM_UNAVAILABLE, http_status=503, **fields)


def ended(performed: Performed) -> tuple[State, Reason]:
    assert performed.outcome is not None
    return performed.outcome.state, performed.outcome.reason


# --- one request


def test_a_transfer_that_is_accepted_is_sent_once_with_its_key_and_ends_submitted(stage):
    record = stage.publish()
    performed = stage.perform()
    assert ended(performed) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert stage.gateway.sent == [
        {"call_id": CALL_ID, "pipeline": PIPELINE, "idempotency_key": f"{CALL_ID}:1"}
    ]
    assert record.state is State.SUBMITTED
    assert [json.loads(note.answer_json) for note in record.notes] == [QUEUED.body]


def test_how_long_the_request_took_is_on_record(stage):
    record = stage.publish()
    stage.gateway.takes_seconds = 0.321
    stage.perform()
    assert record.notes[0].attempt_ms == 321


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Refused(reason=Reason.CALL_NOT_FOUND, http_status=404, answer={"error": "gone"}), State.REJECTED),
        (Refused(reason=Reason.UNAUTHORIZED, http_status=401), State.REJECTED),
        (OutcomeUnknown(reason=Reason.ANSWER_LOST, detail="ReadTimeout"), State.UNKNOWN),
        (OutcomeUnknown(reason=Reason.SERVER_ERROR, http_status=502, answer="<html>"), State.UNKNOWN),
    ],
)
def test_what_must_not_be_repeated_ends_after_one_request_with_all_that_is_known(stage, error, state):
    record = stage.publish()
    stage.gateway.endings = [error]
    performed = stage.perform()
    assert ended(performed) == (state, error.reason)
    assert performed.outcome is not None
    assert (performed.outcome.http_status, performed.outcome.detail) == (error.http_status, error.detail)
    assert len(stage.gateway.sent) == 1
    assert record.notes[0].answer_json == ("" if error.answer is None else json.dumps(error.answer))


def test_a_mistake_of_our_own_leaves_the_attempt_open_for_recovery_to_settle(stage):
    record = stage.publish()
    stage.gateway.endings = []
    with pytest.raises(IndexError):
        stage.perform()
    assert record.state is State.SENDING


# --- no right to act


def test_what_has_ended_before_is_not_sent_again(stage):
    stage.publish()
    first = stage.perform()
    again = stage.perform()
    assert again == Performed(outcome=first.outcome, note="had ended before")
    assert len(stage.gateway.sent) == 1


@pytest.mark.parametrize("state", [State.CLAIMED, State.SENDING])
def test_what_another_worker_acts_on_is_left_alone(stage, state):
    record = stage.publish()
    record.state, record.holder = state, "w2"
    assert stage.perform() == Performed(outcome=None, note=f"{state} by w2")
    assert stage.gateway.sent == []


def test_a_bell_without_a_record_ends_unknown_because_redis_has_lost_data(stage):
    assert ended(stage.perform()) == (State.UNKNOWN, Reason.RECORD_MISSING)
    assert stage.gateway.sent == []


def test_what_is_late_is_not_sent(stage):
    stage.publish(remaining_seconds=0)
    assert ended(stage.perform()) == (State.EXPIRED, Reason.DEADLINE_PASSED)
    assert stage.gateway.sent == []


# --- intents that come with their message


def test_an_intent_from_plain_celery_is_accepted_and_sent(stage):
    performed = stage.perform({"call_id": CALL_ID.upper(), "destination": "support"})
    assert ended(performed) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert stage.gateway.sent[0]["call_id"] == CALL_ID


def test_its_id_is_the_tasks_id_whatever_it_says_itself(stage):
    stage.perform({"call_id": CALL_ID, "destination": "support", "transfer_id": str(uuid.uuid4())})
    assert list(stage.ledger.records) == [stage.transfer_id]


def test_an_id_in_another_spelling_is_the_same_transfer(stage):
    canonical, stage.transfer_id = stage.transfer_id, stage.transfer_id.upper()
    asked = {"call_id": CALL_ID, "destination": "support"}
    assert ended(stage.perform(asked)) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert stage.perform(asked).note == "had ended before"
    assert list(stage.ledger.records) == [canonical]
    assert len(stage.gateway.sent) == 1


@pytest.mark.parametrize(
    ("asked", "field_name"),
    [
        ({"call_id": "no uuid", "destination": "support"}, "call_id"),
        ({"call_id": CALL_ID}, "destination"),
        ({"call_id": CALL_ID, "destination": "support", "surprise": 1}, "surprise"),
        ({}, "call_id"),
        ("support", ""),
        (["support"], ""),
        (7, ""),
        (False, ""),
    ],
)
def test_an_intent_that_is_wrong_is_rejected_with_the_field_named(stage, asked, field_name):
    performed = stage.perform(asked)
    assert ended(performed) == (State.REJECTED, Reason.INVALID_INTENT)
    assert performed.outcome is not None
    assert field_name in performed.outcome.detail
    assert stage.perform(asked).outcome == performed.outcome


def test_a_rejection_is_found_by_the_call_where_it_can_be_read(stage):
    outcome = stage.perform({"call_id": CALL_ID.upper(), "destination": 7}).outcome
    assert outcome is not None
    assert outcome.call_id == CALL_ID


def test_an_intent_of_a_newer_version_is_rejected_as_such(stage):
    asked = {"call_id": CALL_ID, "destination": "support", "schema_version": 2, "news": True}
    assert ended(stage.perform(asked)) == (State.REJECTED, Reason.UNSUPPORTED_SCHEMA_VERSION)


def test_a_repeat_from_plain_celery_tells_the_first_ones_outcome_and_sends_nothing(stage):
    stage.publish()
    first_id, first = stage.transfer_id, stage.perform()
    stage.transfer_id = str(uuid.uuid4())
    again = stage.perform({"call_id": CALL_ID, "destination": "support"})
    assert again == Performed(outcome=first.outcome, note=f"repeat of {first_id} (submitted)", is_repeat=True)
    assert len(stage.gateway.sent) == 1


def test_a_repeat_of_what_is_open_waits_for_nobody(stage):
    stage.publish()
    first_id, stage.transfer_id = stage.transfer_id, str(uuid.uuid4())
    again = stage.perform({"call_id": CALL_ID, "destination": "support"})
    assert again == Performed(outcome=None, note=f"repeat of {first_id} (waiting)", is_repeat=True)
    assert stage.gateway.sent == []


def test_another_destination_for_a_call_that_is_being_moved_is_rejected(stage):
    stage.publish()
    stage.transfer_id = str(uuid.uuid4())
    performed = stage.perform({"call_id": CALL_ID, "destination": "sales"})
    assert ended(performed) == (State.REJECTED, Reason.TRANSFER_IN_PROGRESS)
    assert stage.gateway.sent == []


def test_a_key_that_belongs_to_other_content_is_rejected(stage):
    asked = {"call_id": CALL_ID, "destination": "support", "idempotency_key": "order-1"}
    stage.perform(asked)
    stage.transfer_id = str(uuid.uuid4())
    performed = stage.perform({**asked, "call_id": str(uuid.uuid4())})
    assert ended(performed) == (State.REJECTED, Reason.IDEMPOTENCY_CONFLICT)
    assert len(stage.gateway.sent) == 1


# --- the rules


def test_what_the_rules_forbid_is_rejected_before_anything_is_begun(stage):
    record = stage.publish()
    stage.policy.refusal = NotPermitted(reason=Reason.DESTINATION_NOT_ALLOWED, detail="region JM")
    performed = stage.perform()
    assert ended(performed) == (State.REJECTED, Reason.DESTINATION_NOT_ALLOWED)
    assert performed.outcome is not None
    assert (performed.outcome.detail, record.attempts, stage.gateway.sent) == ("region JM", 0, [])


def test_the_rules_judge_what_is_on_record(stage):
    record = stage.publish()
    stage.perform()
    assert stage.policy.asked == [record.intent]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 2}, Reason.UNSUPPORTED_SCHEMA_VERSION),
        ({"call_id": 1}, Reason.INVALID_INTENT),
    ],
)
def test_a_record_that_this_version_cannot_read_is_rejected(stage, change, reason):
    record = stage.publish()
    intent = record.intent

    class Strange:
        """An intent as a newer publisher wrote it."""

        call_id, idempotency_key = CALL_ID, None

        def to_json(self) -> str:
            assert intent is not None
            return json.dumps({**json.loads(intent.to_json()), **change})

    record.intent = Strange()  # type: ignore[assignment]
    assert ended(stage.perform()) == (State.REJECTED, reason)
    assert stage.gateway.sent == []


# --- a copy of the intent in the message


@pytest.fixture
def steps(stage) -> list[str]:
    taken: list[str] = []
    stage.ledger.before_step = taken.append
    return taken


def test_with_the_intent_at_hand_the_claim_begins_the_attempt_too(stage, steps):
    record = stage.publish()
    performed = stage.perform(copy=record.intent.to_json())
    assert ended(performed) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert steps == ["claim", "end_attempt"]
    assert (performed.outcome.attempts, len(stage.gateway.sent)) == (1, 1)
    assert stage.policy.asked == [record.intent]


@pytest.mark.parametrize(
    "forge",
    [
        lambda intent: intent.model_copy(update={"caller_id": "12025550142"}).to_json(),
        lambda intent: intent.to_json()[:-1],
        lambda intent: "7",
        lambda intent: json.dumps({**json.loads(intent.to_json()), "schema_version": 2}),
    ],
)
def test_a_copy_that_is_not_what_the_record_says_is_not_acted_upon(stage, steps, forge):
    record = stage.publish()
    assert ended(stage.perform(copy=forge(record.intent))) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert steps == ["claim", "begin_attempt", "end_attempt"]
    assert stage.policy.asked[-1] == record.intent


def test_what_the_rules_forbid_begins_nothing_though_the_copy_is_true(stage, steps):
    record = stage.publish()
    stage.policy.refusal = NotPermitted(reason=Reason.DESTINATION_NOT_ALLOWED, detail="region JM")
    performed = stage.perform(copy=record.intent.to_json())
    assert ended(performed) == (State.REJECTED, Reason.DESTINATION_NOT_ALLOWED)
    assert steps == ["claim", "end_attempt"]
    assert (record.attempts, stage.gateway.sent) == (0, [])


def test_the_attempts_after_the_one_that_the_claim_began_are_begun_as_ever(stage, steps):
    record = stage.publish()
    stage.gateway.endings = [unavailable(), QUEUED]
    performed = stage.perform(copy=record.intent.to_json())
    assert ended(performed) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert steps == ["claim", "end_attempt", "begin_attempt", "end_attempt"]
    assert (performed.outcome.attempts, [note.attempt for note in record.notes]) == (2, [1, None])


@pytest.mark.parametrize(
    ("held_up_seconds", "remaining_seconds", "allowed"), [(0.0, 15, 1.0), (0.4, 15, 0.6), (0.0, 0.5, 0.5)]
)
def test_after_a_claim_that_began_it_the_first_byte_must_leave_in_time(
    stage, held_up_seconds, remaining_seconds, allowed
):
    record = stage.publish(remaining_seconds=remaining_seconds)
    seen: list[float] = []
    send, claim = stage.gateway.send, stage.ledger.claim

    def watching_send(**named: Any) -> Any:
        seen.append(named["write_within_seconds"])
        return send(**named)

    def slow_claim(*arguments: Any, **named: Any) -> Any:
        claimed = claim(*arguments, **named)
        stage.clock.now += held_up_seconds
        return claimed

    object.__setattr__(stage.service, "gateway", SimpleNamespace(send=watching_send))
    stage.ledger.claim = slow_claim  # type: ignore[method-assign]
    stage.perform(copy=record.intent.to_json())
    assert seen == [pytest.approx(allowed)]


# --- retries


def test_what_is_proven_not_carried_out_is_tried_again_and_each_wait_is_on_record(stage):
    record = stage.publish()
    stage.gateway.endings = [unavailable(retry_after_seconds=2.0), unavailable(), QUEUED]
    performed = stage.perform()
    assert ended(performed) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert performed.outcome is not None
    assert (performed.outcome.attempts, len(stage.gateway.sent)) == (3, 3)
    assert [note.state for note in record.notes] == [State.CLAIMED, State.CLAIMED, State.SUBMITTED]
    assert [note.wait_ms for note in record.notes] == [
        2000,
        round(stage.clock.slept[1] * 1000),
        None,
    ]
    assert {sent["idempotency_key"] for sent in stage.gateway.sent} == {f"{CALL_ID}:1"}


def test_attempts_are_capped_and_the_last_refusal_is_the_reason(stage):
    stage.publish(remaining_seconds=100)
    stage.gateway.endings = [unavailable()]
    performed = stage.perform()
    assert ended(performed) == (State.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert performed.outcome is not None
    assert (performed.outcome.http_status, len(stage.gateway.sent)) == (503, 4)


def test_a_wait_that_would_reach_the_deadline_is_not_begun(stage):
    stage.publish(remaining_seconds=5)
    stage.gateway.endings = [unavailable(retry_after_seconds=5.0), QUEUED]
    assert ended(stage.perform()) == (State.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert (len(stage.gateway.sent), stage.clock.slept) == (1, [])


def test_the_time_of_the_requests_counts_against_the_deadline(stage):
    stage.publish(remaining_seconds=5)
    stage.gateway.takes_seconds = 4.5
    stage.gateway.endings = [unavailable(retry_after_seconds=1.0), QUEUED]
    assert ended(stage.perform()) == (State.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert len(stage.gateway.sent) == 1


def test_a_process_that_slept_too_long_between_attempts_does_not_send(stage):
    stage.publish(remaining_seconds=5)
    stage.gateway.endings = [unavailable(), QUEUED]
    stage.on("end_attempt", lambda: setattr(stage.clock, "now", 60.0))
    assert ended(stage.perform()) == (State.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert len(stage.gateway.sent) == 1


def test_a_claim_after_a_takeover_counts_the_attempts_on(stage):
    record = stage.publish()
    record.attempts = 2
    performed = stage.perform()
    assert performed.outcome is not None
    assert performed.outcome.attempts == 3


def test_an_unknown_after_a_retry_is_never_repeated(stage):
    stage.publish()
    stage.gateway.endings = [unavailable(), OutcomeUnknown(reason=Reason.ANSWER_LOST), QUEUED]
    assert ended(stage.perform()) == (State.UNKNOWN, Reason.ANSWER_LOST)
    assert len(stage.gateway.sent) == 2


# --- the right to act is lost on the way


def test_cancelled_before_the_first_attempt_sends_nothing(stage):
    stage.publish()
    stage.on(
        "begin_attempt",
        lambda: stage.ledger.end(stage.transfer_id, State.CANCELLED, Reason.CANCELLED_BY_SESSION),
    )
    assert ended(stage.perform()) == (State.CANCELLED, Reason.CANCELLED_BY_SESSION)
    assert stage.gateway.sent == []


def test_cancelled_while_it_waits_for_the_next_attempt_sends_nothing_more(stage):
    stage.publish()
    stage.gateway.endings = [unavailable(), QUEUED]
    stage.on(
        "begin_attempt",
        lambda: stage.ledger.end(stage.transfer_id, State.CANCELLED, Reason.CANCELLED_BY_SESSION),
        occurrence=2,
    )
    assert ended(stage.perform()) == (State.CANCELLED, Reason.CANCELLED_BY_SESSION)
    assert len(stage.gateway.sent) == 1


def test_taken_over_before_sending_sends_nothing_and_ends_nothing(stage):
    record = stage.publish()
    stage.on("begin_attempt", lambda: setattr(record, "token", record.token + 1))
    assert stage.perform() == Performed(outcome=None, note="")
    assert (stage.gateway.sent, record.outcome) == ([], None)


def test_given_up_while_it_was_held_up_is_not_tried_again(stage):
    stage.publish()
    stage.gateway.endings = [unavailable(), QUEUED]
    stage.on(
        "end_attempt",
        lambda: stage.ledger.end(stage.transfer_id, State.UNKNOWN, Reason.WORKER_DIED),
    )
    assert ended(stage.perform()) == (State.UNKNOWN, Reason.WORKER_DIED)
    assert len(stage.gateway.sent) == 1


def test_the_deadline_passes_between_claim_and_attempt(stage):
    stage.publish(remaining_seconds=5)
    stage.on("begin_attempt", lambda: setattr(stage.clock, "now", 6.0))
    assert ended(stage.perform()) == (State.EXPIRED, Reason.DEADLINE_PASSED)
    assert stage.gateway.sent == []


# --- without a ledger, and held up


@pytest.mark.parametrize("step", ["claim", "begin_attempt"])
def test_without_a_ledger_nothing_is_sent(stage, step):
    stage.publish()
    stage.on(step, lambda: stage.ledger.fail(step))
    with pytest.raises(LedgerUnavailable):
        stage.perform()
    assert stage.gateway.sent == []


def test_an_intent_that_can_not_be_accepted_now_stays_with_its_message(stage):
    stage.on("accept", lambda: stage.ledger.fail("accept"))
    with pytest.raises(LedgerUnavailable):
        stage.perform({"call_id": CALL_ID, "destination": "support"})
    assert stage.gateway.sent == []


def test_an_answer_that_can_not_be_settled_leaves_the_attempt_for_recovery(stage):
    record = stage.publish()

    stage.on("end_attempt", lambda: stage.ledger.fail("end_attempt"))
    with pytest.raises(LedgerUnavailable):
        stage.perform()
    assert (record.state, len(stage.gateway.sent)) == (State.SENDING, 1)


def test_a_worker_that_was_held_up_after_the_record_said_sending_does_not_dare_to_send(stage):
    """Others may have given it up for dead meanwhile; the next attempt shows whether they have."""
    record = stage.publish()
    delays = iter([1.5, 0.0])
    begin = stage.ledger.begin_attempt

    def slow_begin(*arguments: Any, **named: Any) -> Any:
        begun = begin(*arguments, **named)
        stage.clock.now += next(delays)
        return begun

    stage.ledger.begin_attempt = slow_begin  # type: ignore[method-assign]
    assert ended(stage.perform()) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert [note.reason for note in record.notes] == [Reason.NOT_SENT, Reason.ACCEPTED_BY_PLATFORM]
    assert len(stage.gateway.sent) == 1


@pytest.mark.parametrize(
    ("held_up_seconds", "remaining_seconds", "allowed"), [(0.0, 15, 1.0), (0.4, 15, 0.6), (0.0, 0.5, 0.5)]
)
def test_the_first_byte_must_leave_in_time(stage, held_up_seconds, remaining_seconds, allowed):
    stage.publish(remaining_seconds=remaining_seconds)
    seen: list[float] = []
    send = stage.gateway.send

    class Watching:
        def send(self, **named: Any) -> Any:
            seen.append(named["write_within_seconds"])
            return send(**named)

    begin = stage.ledger.begin_attempt

    def slow_begin(*arguments: Any, **named: Any) -> Any:
        begun = begin(*arguments, **named)
        stage.clock.now += held_up_seconds
        return begun

    stage.ledger.begin_attempt = slow_begin  # type: ignore[method-assign]
    object.__setattr__(stage.service, "gateway", Watching())
    stage.perform()
    assert seen == [pytest.approx(allowed)]
