"""The fake ledger of `transfer_worker.testing` says what the real one says, step by step."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.verdicts import Begun, Claim, Ended, Lost, Missing, Open, TryAgain
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_worker.delivery.ports import AttemptNote
from transfer_worker.ledger.steps import LedgerSteps
from transfer_worker.testing import FakeClock, FakeLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture(params=["fake", "real"])
def steps(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "fake":
        yield FakeLedger(FakeClock(time.monotonic()))
        return
    with connect(request.getfixturevalue("redis_url"), timeout_seconds=30) as client:
        yield LedgerSteps(
            Ledger(client, namespace="transfer", retention_seconds=100),
            worker="this worker",
            queue="transfers",
            repeat_window_seconds=30,
            settle_patience_seconds=1,
        )


def intent(**fields: Any) -> TransferIntent:
    return TransferIntent(**{"call_id": CALL_ID, "destination": "support", **fields})


def note(state: State, reason: Reason = Reason.PLATFORM_UNAVAILABLE) -> AttemptNote:
    return AttemptNote(state=state, reason=reason, http_status=503, detail="a detail")


def test_a_transfer_from_acceptance_over_a_retry_to_its_ending(steps):
    asked = intent()
    assert steps.claim(asked.transfer_id) == Missing()
    assert steps.accept(asked).verdict == "accepted"
    assert steps.accept(asked).verdict == "existing"
    claim = steps.claim(asked.transfer_id)
    assert isinstance(claim, Claim)
    assert (claim.call_id, claim.idempotency_key, claim.attempts) == (CALL_ID, f"{CALL_ID}:1", 0)
    assert TransferIntent.from_json(claim.intent_json) == asked
    assert 14_000 < claim.remaining_ms <= 15_000
    assert steps.claim(asked.transfer_id) == Open(State.CLAIMED, worker="this worker")
    assert isinstance(steps.begin_attempt(claim, attempt=1), Begun)
    assert steps.claim(asked.transfer_id) == Open(State.SENDING, worker="this worker")
    assert steps.end_attempt(claim, note(State.CLAIMED)) == TryAgain()
    assert isinstance(steps.begin_attempt(claim, attempt=2), Begun)
    ended = steps.end_attempt(claim, note(State.UNKNOWN, Reason.SERVER_ERROR))
    assert isinstance(ended, Ended)
    outcome = ended.outcome
    assert (outcome.state, outcome.reason, outcome.attempts) == (State.UNKNOWN, Reason.SERVER_ERROR, 2)
    assert (outcome.call_id, outcome.http_status, outcome.detail) == (CALL_ID, 503, "a detail")
    assert steps.claim(asked.transfer_id) == ended
    assert steps.begin_attempt(claim, attempt=3) == Lost(State.UNKNOWN, outcome)


@pytest.mark.parametrize(
    ("before", "ends_as"),
    [
        (Reason.PLATFORM_UNREACHABLE, Reason.TRANSFER_IN_PROGRESS),
        (Reason.PLATFORM_UNAVAILABLE, Reason.IN_PROGRESS_AFTER_ATTEMPT),
    ],
)
def test_a_409_after_an_attempt_that_was_sent_is_unknown(steps, before, ends_as):
    asked = intent()
    steps.accept(asked)
    claim = steps.claim(asked.transfer_id)
    steps.begin_attempt(claim, attempt=1)
    steps.end_attempt(claim, note(State.CLAIMED, before))
    steps.begin_attempt(claim, attempt=2)
    assert (
        steps.end_attempt(claim, note(State.REJECTED, Reason.TRANSFER_IN_PROGRESS)).outcome.reason is ends_as
    )


def test_what_stands_in_the_way(steps):
    first = intent()
    steps.accept(first)
    same, other = steps.accept(intent()), steps.accept(intent(destination="sales"))
    assert (same.verdict, same.transfer_id, same.state) == ("repeat", first.transfer_id, State.WAITING)
    assert (other.verdict, other.transfer_id) == ("in_progress", first.transfer_id)


@pytest.mark.parametrize(
    ("state", "same", "other"),
    [
        (State.SUBMITTED, "repeat", "accepted"),
        (State.UNKNOWN, "repeat", "in_progress"),
        (State.REJECTED, "accepted", "accepted"),
    ],
)
def test_what_an_ending_leaves_in_the_way(steps, state, same, other):
    for destination, verdict in (("support", same), ("sales", other)):
        call_id = str(uuid.uuid4())
        first = intent(call_id=call_id)
        steps.accept(first)
        claim = steps.claim(first.transfer_id)
        steps.begin_attempt(claim, attempt=1)
        steps.end_attempt(claim, note(state, Reason.ACCEPTED_BY_PLATFORM))
        assert steps.accept(intent(call_id=call_id, destination=destination)).verdict == verdict


def test_keys(steps):
    first = intent(idempotency_key="order-1")
    steps.accept(first)
    again = intent(idempotency_key="order-1")
    other = intent(idempotency_key="order-1", call_id=str(uuid.uuid4()))
    assert (steps.accept(again).verdict, steps.accept(again).transfer_id) == ("repeat", first.transfer_id)
    assert steps.accept(other).verdict == "conflict"


def test_a_refusal(steps):
    transfer_id = str(uuid.uuid4())
    refusal = {"call_id": CALL_ID, "state": State.REJECTED, "reason": Reason.INVALID_INTENT, "detail": "a"}
    outcome = steps.refuse(transfer_id, **refusal)
    assert (outcome.state, outcome.reason, outcome.detail) == (State.REJECTED, Reason.INVALID_INTENT, "a")
    assert steps.refuse(transfer_id, **refusal) == outcome
    assert steps.claim(transfer_id) == Ended(outcome)
    open_one = intent()
    steps.accept(open_one)
    assert steps.refuse(open_one.transfer_id, **refusal) is None
