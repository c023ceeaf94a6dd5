"""A report that comes again, however late, changes nothing; and what is kept goes to nobody by a guess."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from support.ledger_bench import disbelieve, finish, start
from transfer_tasks.connection import ConnectionStatus, ReportSource, ReportVerdict
from transfer_tasks.outcome import Reason, State

CALL = "call-1"
PLATFORM = ["room", "platform_api", "webhook"]
FINALS = ["connected", "not_connected"]


def bring(bench, where):
    """Bring a transfer of the call to where a request of it may be at the platform; return its id."""
    if where == "submitted":
        return finish(bench, call_id=CALL)
    if where == "not_transferred":
        return disbelieve(bench, call_id=CALL).transfer_id
    claim = start(bench, call_id=CALL)
    if where == "named":
        bench.end(claim, answer_json=json.dumps({"request_id": "r-1"}))
    elif where == "unknown":
        bench.lose_answer(claim)
    elif where == "retried":
        bench.retry(claim)
    return claim.transfer_id


def told(bench):
    """Return all that a report may change: records, lines, and what is kept."""
    kept = bench.client.lrange(bench.keys.unmatched(CALL), 0, -1)
    records = [bench.client.hgetall(bench.keys.record(r.transfer_id)) for r in bench.ledger.read_call(CALL)]
    return records, bench.audit(), kept


def fact(bench, transfer_id):
    connection = bench.record(transfer_id).connection
    return connection and connection.status


@pytest.mark.parametrize("where", ["sending", "retried", "unknown", "not_transferred", "submitted", "named"])
@pytest.mark.parametrize("source", list(ReportSource))
@pytest.mark.parametrize("request_id", ["", "r-1"])
@pytest.mark.parametrize("status", list(ConnectionStatus))
def test_whatever_is_reported_twice_is_told_as_repeated(bench, where, source, request_id, status):
    transfer_id = bring(bench, where)
    first = bench.report(status, CALL, request_id, source=source)
    before = told(bench)

    again = bench.report(status, CALL, request_id, source=source)

    is_known = first.verdict is not ReportVerdict.UNMATCHED
    assert again.verdict is (ReportVerdict.REPEATED if is_known else ReportVerdict.UNMATCHED)
    assert again.transfer_id == first.transfer_id == (transfer_id if is_known else "")
    assert told(bench) == before
    # Nobody else teaches a record the id of its request.
    assert is_known == (source.is_platform or not request_id or where == "named")


@pytest.mark.parametrize("status", FINALS)
@pytest.mark.parametrize("first", PLATFORM)
@pytest.mark.parametrize("second", PLATFORM)
def test_another_source_s_word_of_the_same_is_a_repeat_and_may_add_a_reason(bench, status, first, second):
    transfer_id = bring(bench, "submitted")
    bench.report(status, CALL, source=first)
    reason = "busy" if status == "not_connected" else ""

    again = bench.report(status, CALL, source=second, reason=reason)

    assert (again.verdict, again.transfer_id) == (ReportVerdict.REPEATED, transfer_id)
    assert (again.connection.reason or "") == reason
    assert bench.client.exists(bench.keys.unmatched(CALL)) == 0


def test_a_contradiction_that_comes_twice_is_one(bench):
    transfer_id = bring(bench, "submitted")
    bench.report("connected", CALL, source="session")

    said = [bench.report("not_connected", CALL, source="room") for _ in range(2)]

    assert [result.verdict for result in said] == [ReportVerdict.CONTRADICTION, ReportVerdict.REPEATED]
    assert {result.transfer_id for result in said} == {transfer_id}


@pytest.mark.parametrize("status", FINALS)
def test_the_last_word_on_one_that_comes_again_is_not_taken_for_that_on_the_next(bench, status):
    """It would let a caller who rings ask again, or say that somebody was reached."""
    first = bring(bench, "submitted")
    bench.report("ringing", CALL)
    bench.report(status, CALL)
    second = start(bench, call_id=CALL, destination="sales").transfer_id

    for again in ("ringing", status):
        assert bench.report(again, CALL).verdict is ReportVerdict.UNMATCHED

    assert (fact(bench, first), fact(bench, second)) == (status, None)


def test_another_last_word_than_that_on_the_first_is_of_the_second(bench):
    first = bring(bench, "submitted")
    bench.report("not_connected", CALL, reason="busy")
    second = start(bench, call_id=CALL, destination="sales").transfer_id

    assert bench.report("connected", CALL).transfer_id == second

    assert (fact(bench, first), fact(bench, second)) == ("not_connected", "connected")


def test_what_happened_after_the_last_word_on_the_first_is_of_the_second(bench):
    first = bring(bench, "submitted")
    bench.report("connected", CALL)
    second = start(bench, call_id=CALL, destination="sales").transfer_id
    soon = datetime.now(UTC) + timedelta(minutes=1)

    said = [bench.report("connected", CALL, source="webhook", at=soon) for _ in range(2)]

    assert [result.verdict for result in said] == [ReportVerdict.MATCHED, ReportVerdict.REPEATED]
    assert {result.transfer_id for result in said} == {second}
    assert fact(bench, first) == "connected"


# --- what is kept


@pytest.mark.parametrize("kept", ["ringing", "connected"])
def test_the_last_word_on_one_of_two_does_not_give_what_was_kept_to_the_other(bench, kept):
    first = bring(bench, "submitted")
    second = start(bench, call_id=CALL, destination="sales").transfer_id
    assert bench.report(kept, CALL).verdict is ReportVerdict.UNMATCHED

    bench.report("connected", transfer_id=first, source="webhook")

    assert fact(bench, second) is None


def test_time_that_passes_does_not_give_what_was_kept_to_the_other(bench):
    first = bring(bench, "submitted")
    second = start(bench, call_id=CALL, destination="sales").transfer_id
    bench.report("connected", CALL)

    let_pass(bench, minutes=30)
    bench.report("ringing", transfer_id=second, source="webhook")

    assert fact(bench, first) is None
    assert fact(bench, second) == "ringing"


def let_pass(bench, *, minutes):
    """Put back what records and kept reports say of points in time."""
    for record in bench.ledger.read_call(CALL):
        for field in ("begun_ms", "ended_ms"):
            if bench.client.hget(bench.keys.record(record.transfer_id), field):
                bench.client.hincrby(bench.keys.record(record.transfer_id), field, -minutes * 60_000)
    key = bench.keys.unmatched(CALL)
    for index, text in enumerate(bench.client.lrange(key, 0, -1)):
        said = json.loads(text)
        bench.client.lset(key, index, json.dumps(said | {"heard_ms": said["heard_ms"] - minutes * 60_000}))


def test_what_was_kept_is_over_after_an_hour_though_others_came_later(bench):
    first = bring(bench, "submitted")
    second = start(bench, call_id=CALL, destination="sales")
    bench.report("connected", CALL)

    let_pass(bench, minutes=61)
    bench.end(second, State.REJECTED, Reason.CALL_NOT_FOUND, http_status=404)

    assert fact(bench, first) is None


@pytest.mark.parametrize(
    "ending",
    [(State.REJECTED, Reason.CALL_NOT_FOUND), (State.FAILED, Reason.PLATFORM_UNREACHABLE)],
    ids=["refused", "never sent"],
)
@pytest.mark.parametrize("request_id", ["", "r-1"])
@pytest.mark.parametrize("is_given_up", [False, True])
def test_what_was_kept_is_of_the_only_one_that_is_left(bench, ending, request_id, is_given_up):
    first = bring(bench, "submitted")
    second = start(bench, call_id=CALL, destination="sales")
    for status in ("ringing", "not_connected"):
        assert bench.report(status, CALL, request_id).verdict is ReportVerdict.UNMATCHED
    if is_given_up:
        bench.bury()
        bench.recover()

    bench.end(second, *ending, http_status=None)

    connection = bench.record(first).connection
    assert connection.status is ConnectionStatus.NOT_CONNECTED
    assert connection.ringing_at_ms > 0
    assert bench.client.exists(bench.keys.unmatched(CALL)) == 0


@pytest.mark.parametrize("source", ["session", "operator"])
def test_by_nobody_else_s_word_what_was_kept_becomes_the_platform_s_word_on_one(bench, source):
    first = bring(bench, "not_transferred")
    second = start(bench, call_id=CALL, destination="sales")
    bench.retry(second)
    assert bench.report("queued", CALL, "r-1", source="platform_api").verdict is ReportVerdict.UNMATCHED
    bench.begin(second, attempt=2)

    bench.report("queued", transfer_id=second.transfer_id, source=source)

    assert bench.record(first).state is State.FAILED


# --- what an answer has only named

RUNNING = json.dumps({"error": "transfer_in_progress", "request_id": "r-1"})


@pytest.fixture
def earlier(bench):
    """A transfer of the call whose request is known."""
    claim = start(bench, call_id=CALL)
    bench.end(claim, answer_json=json.dumps({"request_id": "r-0"}))
    return claim.transfer_id


@pytest.fixture
def doubtful(bench):
    """A transfer that may be what the platform says is running."""
    claim = start(bench, call_id=CALL, destination="sales")
    bench.retry(claim)
    bench.begin(claim, attempt=2)
    bench.end(claim, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409, answer_json=RUNNING)
    assert bench.record(claim.transfer_id).reason is Reason.IN_PROGRESS_AFTER_ATTEMPT
    return claim.transfer_id


@pytest.mark.parametrize("source", ["session", "room"])
def test_that_a_409_has_named_a_request_settles_nothing_whoever_speaks_of_the_call(
    bench, earlier, doubtful, source
):
    bench.report("connected", transfer_id=doubtful if source == "session" else earlier, source=source)

    record = bench.record(doubtful)
    assert (record.state, record.request_id) == (State.UNKNOWN, "")


@pytest.mark.parametrize("status", list(ConnectionStatus))
def test_what_the_platform_then_says_of_that_request_does(bench, doubtful, status):
    said = bench.report(status, CALL, "r-1", source="platform_api")

    assert (said.transfer_id, said.state) == (doubtful, State.SUBMITTED)
    assert bench.client.exists(bench.keys.unmatched(CALL)) == 0


def test_a_late_answer_names_its_request_too(bench):
    other = bring(bench, "submitted")
    claim = start(bench, call_id=CALL, destination="sales")
    bench.bury()
    bench.recover()
    bench.end(claim, answer_json=json.dumps({"message": "queued", "request_id": "r-1"}))

    assert bench.report("connected", CALL, "r-1").transfer_id == claim.transfer_id
    assert fact(bench, other) is None
