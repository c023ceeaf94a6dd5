"""A 409 says that some transfer of the call is running, not which: what the ledger makes of it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from support import keys_without_ttl
from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.verdicts import Claim, Ended
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect

PAGE = Path(__file__).parents[3] / "docs" / "outcomes.md"
ANSWER = '{"error": "transfer_in_progress", "request_id": "r-7"}'


@pytest.fixture
def bench(redis_url):
    """The steps, and at the end the key-leak check."""
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)
        assert keys_without_ttl(client) == []


def end_in_progress(bench: LedgerBench, claim: Claim) -> tuple[State, Reason]:
    """End an attempt by a 409, twice, as a worker does whose first answer from Redis was lost."""
    options = {"http_status": 409, "detail": "running at the platform: request_id r-7", "answer_json": ANSWER}
    first = bench.end(claim, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, **options)
    again = bench.end(claim, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, **options)
    assert isinstance(first, Ended)
    assert again.outcome == first.outcome
    kept = json.loads(bench.record(claim.transfer_id).attempt_notes[-1]["answer"])
    assert kept["request_id"] == "r-7"
    return first.outcome.state, first.outcome.reason


REJECTED = (State.REJECTED, Reason.TRANSFER_IN_PROGRESS)
UNKNOWN = (State.UNKNOWN, Reason.IN_PROGRESS_AFTER_ATTEMPT)


def second_attempt(bench: LedgerBench, reason: Reason) -> Claim:
    claim = bench.begin_first(str(uuid.uuid4()))
    bench.end(claim, State.CLAIMED, reason, http_status=None)
    bench.begin(claim, attempt=2)
    return claim


def test_a_first_attempt_was_refused_because_of_somebody_elses_transfer(bench):
    assert end_in_progress(bench, bench.begin_first(str(uuid.uuid4()))) == REJECTED


@pytest.mark.parametrize("reason", [Reason.PLATFORM_UNREACHABLE, Reason.NOT_SENT])
def test_an_attempt_that_was_proven_unsent_is_not_what_is_running(bench, reason):
    assert end_in_progress(bench, second_attempt(bench, reason)) == REJECTED


@pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.PLATFORM_UNAVAILABLE])
def test_an_attempt_that_was_sent_may_be_what_is_running(bench, reason):
    assert end_in_progress(bench, second_attempt(bench, reason)) == UNKNOWN


def test_an_attempt_of_an_earlier_claim_counts_too(bench):
    claim = second_attempt(bench, Reason.PLATFORM_UNAVAILABLE)
    bench.end(claim, State.CLAIMED, Reason.PLATFORM_UNREACHABLE, http_status=None)
    bench.bury("w1")
    bench.recover()
    successor = bench.claim(claim.transfer_id, worker="w2")
    bench.begin(successor, attempt=3)
    assert end_in_progress(bench, successor) == UNKNOWN


def hop(bench: LedgerBench, call_id: str, state: State, reason: Reason, *, attempts: int = 1) -> str:
    """Bring a transfer of the call to its end."""
    claim = bench.begin_first(call_id, destination=f"d-{uuid.uuid4()}")
    for attempt in range(1, attempts):
        bench.retry(claim)
        bench.begin(claim, attempt=attempt + 1)
    bench.end(claim, state, reason, http_status=None)
    return claim.transfer_id


@pytest.mark.parametrize(
    ("state", "reason", "ends_as"),
    [
        (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, REJECTED),
        (State.REJECTED, Reason.REFUSED_BY_PLATFORM, REJECTED),
        (State.REJECTED, Reason.TRANSFER_IN_PROGRESS, REJECTED),
        (State.FAILED, Reason.PLATFORM_UNREACHABLE, REJECTED),
        (State.FAILED, Reason.PLATFORM_UNAVAILABLE, UNKNOWN),
        (State.FAILED, Reason.RATE_LIMITED, UNKNOWN),
    ],
)
def test_an_earlier_transfer_of_the_call_counts_by_how_it_ended(bench, state, reason, ends_as):
    call_id = str(uuid.uuid4())
    earlier = hop(bench, call_id, state, reason)
    assert end_in_progress(bench, bench.begin_first(call_id)) == ends_as
    assert bench.record(earlier).outcome.reason is reason
    assert bench.events(earlier).count("resolved") == 0


@pytest.mark.parametrize("between", [None, Reason.PLATFORM_UNREACHABLE])
@pytest.mark.parametrize("source", ["session", "operator"])
def test_evidence_that_an_earlier_transfer_was_not_carried_out_is_corrected(bench, between, source):
    call_id = str(uuid.uuid4())
    earlier = hop(bench, call_id, State.UNKNOWN, Reason.ANSWER_LOST)
    bench.run(
        bench.commands.resolve(earlier, transferred=False, source=source, detail="the caller is still here")
    )
    if between:
        hop(bench, call_id, State.FAILED, between)
    assert end_in_progress(bench, bench.begin_first(call_id)) == REJECTED
    outcome = bench.record(earlier).outcome
    assert (outcome.state, outcome.reason, outcome.source) == (
        State.SUBMITTED,
        Reason.TRANSFER_CONFIRMED,
        "platform",
    )
    assert "r-7" in outcome.detail
    assert bench.events(earlier).count("resolved") == 2
    assert not bench.counted("double_posts")


def test_only_the_newest_that_can_be_running_is_looked_at(bench):
    call_id = str(uuid.uuid4())
    evidence = hop(bench, call_id, State.UNKNOWN, Reason.ANSWER_LOST)
    bench.resolve(evidence, transferred=False)
    hop(bench, call_id, State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert end_in_progress(bench, bench.begin_first(call_id)) == REJECTED
    assert bench.record(evidence).outcome.reason is Reason.NOT_TRANSFERRED


def test_an_unknown_that_was_settled_may_be_settled_again_by_a_late_answer(bench):
    claim = second_attempt(bench, Reason.PLATFORM_UNAVAILABLE)
    assert end_in_progress(bench, claim) == UNKNOWN
    assert bench.resolve(claim.transfer_id, transferred=True).outcome.state is State.SUBMITTED


def test_the_page_says_all_of_this():
    section = PAGE.read_text("utf-8").split("## When a 409 may be our own\n")[1]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("|")][2:]
    assert [row[1].split("`")[1::2] for row in rows] == [
        list(ending) for ending in (REJECTED, UNKNOWN, REJECTED, REJECTED, UNKNOWN)
    ]
