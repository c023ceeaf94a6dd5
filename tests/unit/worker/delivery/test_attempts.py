"""Retries, and the right to act that is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest

from support.delivering import CALL_ID, ended, unavailable
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.service import Performed
from transfer_worker.errors import OutcomeUnknown
from transfer_worker.testing import QUEUED


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
