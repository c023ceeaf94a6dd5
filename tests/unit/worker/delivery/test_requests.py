"""Intents that come with their message, and what the rules say of them."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from support.delivering import CALL_ID, ended, unavailable
from transfer_tasks.outcome import Reason, State
from transfer_tasks.signature import Written
from transfer_worker.delivery.service import Performed
from transfer_worker.errors import NotPermitted
from transfer_worker.testing import QUEUED


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
    record.written = Written(json.dumps({**json.loads(record.written.text), **change}))
    assert ended(stage.perform()) == (State.REJECTED, reason)
    assert stage.gateway.sent == []


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
