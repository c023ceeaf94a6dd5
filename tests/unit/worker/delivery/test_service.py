"""One request of the transfer service, and no right to make it."""

from __future__ import annotations

import json

import pytest

from support.delivering import CALL_ID, PIPELINE, ended
from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.service import Performed
from transfer_worker.errors import OutcomeUnknown, Refused
from transfer_worker.testing import QUEUED


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


def test_a_notification_without_a_record_ends_unknown_because_redis_has_lost_data(stage):
    intent = TransferIntent(transfer_id=stage.transfer_id, call_id=CALL_ID, destination="support")
    performed = stage.perform(copy=intent.to_json())
    assert ended(performed) == (State.UNKNOWN, Reason.RECORD_MISSING)
    assert performed.outcome.call_id == CALL_ID
    assert stage.gateway.sent == []


def test_one_without_an_intent_is_refused_because_anybody_can_make_up_an_id(stage):
    assert ended(stage.perform()) == (State.REJECTED, Reason.INVALID_INTENT)
    assert stage.gateway.sent == []


def test_what_is_late_is_not_sent(stage):
    stage.publish(remaining_seconds=0)
    assert ended(stage.perform()) == (State.EXPIRED, Reason.DEADLINE_PASSED)
    assert stage.gateway.sent == []
