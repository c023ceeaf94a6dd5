"""How a transfer ends without an attempt: cancelled, expired, resolved by evidence, refused."""

from __future__ import annotations

import time
import uuid

import pytest

from support.ledger_bench import LONG_MS, outcome_of
from transfer_tasks.ledger.verdicts import (
    Claim,
    Lost,
    Open,
)
from transfer_tasks.outcome import Reason, State


def test_what_waits_or_is_claimed_can_be_cancelled_and_then_nobody_can_send(bench, claim):
    done, seen = bench.cancel(claim.transfer_id)
    assert done
    outcome = outcome_of(seen)
    assert (outcome.state, outcome.source, outcome.detail) == (State.CANCELLED, "session", "hung up")
    assert bench.cancel(claim.transfer_id) == (True, seen)
    assert bench.begin(claim) == Lost("cancelled", outcome)
    assert bench.end(claim, State.REJECTED, Reason.CALLER_ID_MISSING) == Lost("cancelled", outcome)
    assert bench.events(claim.transfer_id).count("finished") == 1


def test_a_wait_between_attempts_can_be_cancelled(bench, sending):
    bench.retry(sending)
    assert bench.cancel(sending.transfer_id)[0]
    assert isinstance(bench.begin(sending, attempt=2), Lost)


def test_what_is_being_sent_is_too_late_to_cancel(bench, sending):
    assert bench.cancel(sending.transfer_id) == (False, Open(State.SENDING))
    ended = bench.end(sending)
    assert bench.cancel(sending.transfer_id) == (False, ended)


def test_expire_ends_only_what_waits_and_is_late(bench, waiting):
    seen = bench.expire(waiting)
    assert isinstance(seen, Open)
    assert seen.state is State.WAITING
    assert 0 < seen.remaining_ms <= LONG_MS
    late = bench.accept(remaining_ms=-1).transfer_id
    outcome = outcome_of(bench.expire(late))
    assert (outcome.state, outcome.source) == (State.EXPIRED, "publisher")
    assert outcome_of(bench.expire(late)) == outcome


def test_expire_leaves_a_late_claim_to_its_worker(bench):
    transfer_id = bench.accept(remaining_ms=30).transfer_id
    assert isinstance(bench.claim(transfer_id), Claim)
    time.sleep(0.04)
    seen = bench.expire(transfer_id)
    assert isinstance(seen, Open)
    assert (seen.state, seen.remaining_ms <= 0) == (State.CLAIMED, True)


@pytest.mark.parametrize(
    ("transferred", "state", "reason"),
    [
        (True, State.SUBMITTED, Reason.TRANSFER_CONFIRMED),
        (False, State.FAILED, Reason.NOT_TRANSFERRED),
    ],
)
def test_evidence_settles_an_unknown_once(bench, sending, transferred, state, reason):
    bench.lose_answer(sending)
    resolved = bench.resolve(sending.transfer_id, transferred=transferred)
    outcome = outcome_of(resolved)
    assert (outcome.state, outcome.reason, outcome.source) == (state, reason, "operator")
    assert bench.resolve(sending.transfer_id, transferred=transferred) == resolved
    assert bench.resolve(sending.transfer_id, transferred=not transferred) == Lost(state, outcome)
    assert bench.index("unknown") == set()
    assert bench.events(sending.transfer_id)[-2:] == ["finished", "resolved"]
    assert bench.audit(sending.transfer_id)[-1]["previous_state"] == "unknown"


def test_only_an_unknown_can_be_settled(bench, claim):
    assert bench.resolve(claim.transfer_id, transferred=True) == Lost("claimed", None)
    bench.begin(claim)
    assert bench.resolve(claim.transfer_id, transferred=True) == Lost("sending", None)
    ended = outcome_of(bench.end(claim, State.REJECTED, Reason.CALL_NOT_FOUND))
    assert bench.resolve(claim.transfer_id, transferred=True) == Lost("rejected", ended)


def test_a_refused_message_gets_one_recorded_outcome(bench):
    transfer_id = str(uuid.uuid4())
    first = bench.refuse(transfer_id)
    assert bench.refuse(transfer_id, reason=Reason.UNSUPPORTED_SCHEMA_VERSION) == first
    outcome = outcome_of(first)
    assert (outcome.state, outcome.reason, outcome.attempts) == (State.REJECTED, Reason.INVALID_INTENT, 0)
    assert bench.record(transfer_id).outcome == outcome
    assert bench.events(transfer_id) == ["finished"]


def test_an_open_record_is_not_refused(bench, claim):
    assert bench.refuse(claim.transfer_id) is None
    assert bench.record(claim.transfer_id).state is State.CLAIMED
