"""Attempts: on record before they go out, ended once, in the words that the audit line has."""

from __future__ import annotations

import json
import time

import pytest

from support.ledger_bench import LONG_MS, outcome_of
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
    Lost,
    TryAgain,
)
from transfer_tasks.outcome import Reason, State


def test_an_attempt_is_on_record_before_it_goes_out_and_repeating_the_step_begins_nothing(bench, claim):
    first, again = bench.begin(claim), bench.begin(claim)
    assert isinstance(first, Begun)
    assert isinstance(again, Begun)
    assert 0 < again.remaining_ms <= first.remaining_ms <= LONG_MS
    record = bench.record(claim.transfer_id)
    assert (record.state, record.attempts, record.attempt_notes[0]["worker"]) == (State.SENDING, 1, "w1")
    assert bench.events(claim.transfer_id).count("attempt_started") == 1


def test_an_attempt_under_way_is_no_leave_for_the_next_one(bench, sending):
    assert bench.begin(sending, attempt=2) == Lost("sending", None)


def test_a_stale_token_can_neither_begin_nor_end(bench, claim):
    stale = Claim(**{**{name: getattr(claim, name) for name in Claim.__slots__}, "token": "0"})
    assert bench.begin(stale) == Lost("claimed", None)
    bench.begin(claim)
    assert bench.begin(stale) == Lost("sending", None)
    assert bench.end(stale) == Lost("sending", None)
    bench.end(claim)
    assert bench.end(stale) == Lost("submitted", bench.record(claim.transfer_id).outcome)


def test_nothing_begins_after_the_deadline(bench):
    claim = bench.claim(bench.accept(remaining_ms=40).transfer_id)
    assert isinstance(claim, Claim)
    time.sleep(0.05)
    lost = bench.begin(claim)
    assert isinstance(lost, Lost)
    assert lost.outcome is not None
    assert (lost.state, lost.outcome.reason) == ("expired", Reason.DEADLINE_PASSED)
    assert bench.index("in_flight") == set()


def test_after_a_retry_the_deadline_leaves_the_proven_refusal_as_the_reason(bench):
    claim = bench.claim(bench.accept(remaining_ms=60).transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.retry(claim)
    time.sleep(0.07)
    lost = bench.begin(claim, attempt=2)
    assert isinstance(lost, Lost)
    assert lost.outcome is not None
    assert (lost.outcome.state, lost.outcome.reason, lost.outcome.http_status, lost.outcome.attempts) == (
        State.FAILED,
        Reason.PLATFORM_UNAVAILABLE,
        503,
        1,
    )


def test_a_retry_waits_as_claimed_and_the_next_attempt_counts_on(bench, sending):
    assert bench.retry(sending) == TryAgain()
    assert bench.retry(sending) == TryAgain()  # repeated
    assert bench.record(sending.transfer_id).state is State.CLAIMED
    assert isinstance(bench.begin(sending, attempt=2), Begun)
    ended = bench.end(sending, answer_json=json.dumps({"message": "queued"}))
    assert outcome_of(ended).attempts == 2
    first, second = bench.record(sending.transfer_id).attempt_notes
    assert (first["http_status"], first["reason"]) == (503, "platform_unavailable")
    assert json.loads(second["answer"]) == {"message": "queued"}
    assert bench.events(sending.transfer_id) == [
        "accepted",
        "claimed",
        "attempt_started",
        "retry_scheduled",
        "attempt_started",
        "finished",
    ]


def test_an_attempt_that_is_over_is_never_begun_again_by_a_delayed_request(bench, sending):
    """Redis may get a request late that its sender has given up and repeated: a held connection, say."""
    bench.retry(sending)
    assert bench.begin(sending, attempt=1) == Lost("claimed", None)
    assert isinstance(bench.begin(sending, attempt=2), Begun)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
        (State.REJECTED, Reason.CALL_NOT_FOUND),
        (State.FAILED, Reason.PLATFORM_UNREACHABLE),
        (State.UNKNOWN, Reason.ANSWER_LOST),
    ],
)
def test_every_ending_of_an_attempt_is_written_once_and_can_be_repeated(bench, sending, state, reason):
    first = bench.end(sending, state, reason, http_status=418, detail="a detail")
    again = bench.end(sending, state, reason, http_status=418, detail="a detail")
    assert first == again
    outcome = outcome_of(first)
    assert (outcome.state, outcome.reason, outcome.http_status, outcome.detail) == (
        state,
        reason,
        418,
        "a detail",
    )
    assert (outcome.attempts, outcome.source) == (1, "worker")
    assert bench.record(sending.transfer_id).outcome == outcome
    assert bench.events(sending.transfer_id).count("finished") == 1
    assert bench.index("in_flight") == set()
    assert bench.index("unknown") == ({sending.transfer_id} if state is State.UNKNOWN else set())


def test_a_rejection_before_any_attempt_leaves_no_attempt_note(bench, claim):
    bench.end(claim, State.REJECTED, Reason.CALLER_ID_MISSING, http_status=None)
    record = bench.record(claim.transfer_id)
    assert (record.attempts, record.attempt_notes, record.http_status) == (0, (), None)


def test_a_rejection_by_the_heir_leaves_the_first_workers_attempt_note_alone(bench, sending):
    bench.retry(sending)
    bench.bury("w1")
    bench.recover()
    successor = bench.claim(sending.transfer_id, worker="w2")
    assert isinstance(successor, Claim)
    assert successor.attempts == 1
    bench.end(successor, State.REJECTED, Reason.DESTINATION_NOT_ALLOWED, http_status=None)
    (note,) = bench.record(sending.transfer_id).attempt_notes
    assert (note["reason"], note["worker"]) == ("platform_unavailable", "w1")


def test_the_finished_line_has_the_documented_fields(bench, sending):
    bench.end(sending, detail="a detail")
    line = bench.audit(sending.transfer_id)[-1]
    assert set(line) == {
        "timestamp",
        "event",
        "event_id",
        "transfer_id",
        "call_id",
        "idempotency_key",
        "hop",
        "attempt",
        "destination",
        "state",
        "reason",
        "source",
        "http_status",
        "detail",
        "waited_ms",
        "attempt_ms",
        "worker",
    }
    assert (line["state"], line["http_status"], line["attempt_ms"]) == ("submitted", 200, 12)
