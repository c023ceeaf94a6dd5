"""The judge, on histories written by hand: one that is whole, and for each promise one that breaks it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chaos.auditor import INVARIANTS, Auditor
from chaos.history import Ask, Fault, History, Line, Post
from transfer_tasks.ledger.record import TransferRecord

if TYPE_CHECKING:
    from collections.abc import Callable

START_MS = 1_800_000_000_000.0
CALL, ONE, TWO = "call-1", "transfer-1", "transfer-2"
TO, ELSEWHERE = "12025550141", "12025550142"
WORKER = "node-1@host/1-abc"


def make_line(number: int, event: str, after_ms: float, **fields: Any) -> Line:
    transfer_id = fields.pop("transfer_id", ONE)
    attempt = fields.pop("attempt", 0)
    return Line(
        at_ms=START_MS + after_ms,
        event_id=f"{number}-0",
        event=event,
        transfer_id=transfer_id,
        attempt=attempt,
        fields={"worker": WORKER, "idempotency_key": f"{transfer_id}:key", **fields},
    )


def make_record(transfer_id: str = ONE, **fields: Any) -> TransferRecord:
    values = {
        "state": "submitted",
        "reason": "accepted_by_platform",
        "hop": "1",
        "attempt": "1",
        "attempt:1": json.dumps({"reason": "accepted_by_platform", "http_status": 200}),
        "accepted_ms": int(START_MS),
        "expires_ms": int(START_MS + 10_000),
        "ended_ms": int(START_MS + 100),
        "intent": json.dumps({"destination": {"endpoints": [{"number": TO}]}}),
        **fields,
    }
    return TransferRecord.from_hash(
        transfer_id,
        {
            "call_id": CALL,
            "key": f"{transfer_id}:key",
            **{name: str(value) for name, value in values.items()},
        },
    )


def make_post(after_ms: float = 50.0, **fields: Any) -> Post:
    values: dict[str, Any] = {
        "call_id": CALL,
        "key": f"{ONE}:key",
        "to": TO,
        "behaviour": "ok",
        "status": 200,
        "carried_out": True,
    }
    return Post(at_ms=START_MS + after_ms, **{**values, **fields})


def make_ask(action: str, reply: str, after_ms: float = 0.0, **fields: Any) -> Ask:
    values = {"who": "p1", "transfer_id": ONE, "call_id": CALL, "to": TO, **fields}
    took_ms = values.pop("took_ms", 1.0)
    at_ms = START_MS + after_ms
    return Ask(at_ms=at_ms, answered_ms=at_ms + took_ms, action=action, reply=reply, **values)


def make_history() -> History:
    """One transfer that went as it should."""
    lines = [
        make_line(1, "accepted", 0),
        make_line(2, "claimed", 10),
        make_line(3, "attempt_started", 20, attempt=1),
        make_line(4, "finished", 100, attempt=1, state="submitted", reason="accepted_by_platform"),
    ]
    return History(
        asks=[make_ask("submit", "accepted", about=ONE), make_ask("outcome", "submitted", 101)],
        posts=[make_post()],
        lines=lines,
        records={ONE: make_record()},
        stream_ids={line.event_id for line in lines},
        slots={"node-1": "w1"},
    )


def make_unknown(reason: str = "answer_lost", source: str = "worker", **post: Any) -> History:
    """One transfer whose answer was lost."""
    history = make_history()
    history.asks[1] = make_ask("outcome", "unknown", 101)
    history.posts = [make_post(behaviour="silence", status=None, **post)]
    history.lines[3] = make_line(4, "finished", 100, attempt=1, state="unknown", reason=reason, source=source)
    note = json.dumps({"reason": reason})
    history.records[ONE] = make_record(state="unknown", reason=reason, **{"attempt:1": note})
    return history


def make_ended(state: str, reason: str) -> History:
    """One transfer that ended before anything was sent."""
    history = make_history()
    history.asks[1] = make_ask("outcome", state, 101)
    history.posts = []
    history.lines[2:] = [make_line(3, "finished", 100, state=state, reason=reason)]
    history.records[ONE] = make_record(state=state, reason=reason, attempt=0)
    history.stream_ids = {line.event_id for line in history.lines}
    return history


def broken_promises(history: History) -> set[str]:
    return {finding.invariant for finding in Auditor(history).judge().findings}


@pytest.mark.parametrize(
    "history",
    [
        make_history(),
        make_unknown(),
        make_unknown(carried_out=False),
        make_ended("expired", "deadline_passed"),
        make_ended("cancelled", "cancelled_by_session"),
    ],
    ids=["submitted", "unknown", "unknown-not-done", "expired", "cancelled"],
)
def test_what_went_as_it_should_is_not_blamed(history: History) -> None:
    assert broken_promises(history) == set()


def without_record(history: History) -> None:
    history.records.clear()


def still_open(history: History) -> None:
    history.records[ONE] = make_record(state="claimed", reason="")


def finished_twice(history: History) -> None:
    history.lines.append(replace(history.lines[3], event_id="5-0"))


def carried_out_twice(history: History) -> None:
    history.posts.append(make_post(60))


def next_hop(history: History, accepted_after_ms: float) -> None:
    accepted = int(START_MS + accepted_after_ms)
    history.records[TWO] = make_record(
        TWO, hop=2, accepted_ms=accepted, state="expired", reason="deadline_passed", attempt=0
    )


def asked_again_while_open(history: History) -> None:
    next_hop(history, accepted_after_ms=60)


def sent_when_the_next_was_accepted(history: History) -> None:
    next_hop(history, accepted_after_ms=110)
    history.posts[0] = make_post(150)


def sent_late(history: History) -> None:
    history.posts[0] = make_post(10_400)


def sent_after_cancel(history: History) -> None:
    history.asks.append(make_ask("cancel", "cancelled", 30))


def told_a_lie(history: History) -> None:
    history.posts[0] = make_post(carried_out=False, behaviour="503", status=503)


def told_failed(history: History) -> None:
    history.asks[1] = make_ask("outcome", "failed", 101)


def never_told(history: History) -> None:
    history.asks[1] = make_ask("outcome", "timeout", 101, about="sending")


def attempt_without_a_line(history: History) -> None:
    history.records[ONE] = make_record(attempt=2)


def post_without_a_record(history: History) -> None:
    history.posts.append(make_post(key="nobody's"))


def sent_elsewhere(history: History) -> None:
    history.posts[0] = make_post(to=ELSEWHERE)


def answer_that_never_was(history: History) -> None:
    history.records[ONE] = make_record(**{"attempt:1": json.dumps({"reason": "x", "http_status": 201})})


def other_ending_on_record(history: History) -> None:
    history.records[ONE] = make_record(reason="transfer_confirmed")


def claimed_after_the_end(history: History) -> None:
    history.lines.append(make_line(5, "claimed", 200))


def submitted_without_an_attempt(history: History) -> None:
    del history.lines[2]


def line_not_written(history: History) -> None:
    history.stream_ids.add("9-0")


def repeat_of_another_destination(history: History) -> None:
    history.asks.append(make_ask("submit", "repeat", 50, transfer_id=TWO, to=ELSEWHERE, about=ONE))


def conflict_with_the_same_destination(history: History) -> None:
    history.asks.append(make_ask("submit", "in_progress", 50, transfer_id=TWO, about=ONE))


def left_lying(history: History) -> None:
    history.lines[1:] = [replace(line, at_ms=line.at_ms + 8000) for line in history.lines[1:]]
    history.posts[0] = make_post(8050)
    history.asks[1] = make_ask("outcome", "submitted", 8101)


def worker_that_raised(history: History) -> None:
    history.task_errors.append("raised unexpected: NameError")


def slow_submission(history: History) -> None:
    history.asks[0] = make_ask("submit", "accepted", about=ONE, took_ms=1500.0)


@pytest.mark.parametrize(
    ("promise", "crime"),
    [
        ("ended", without_record),
        ("ended", still_open),
        ("ended", finished_twice),
        ("doubled", carried_out_twice),
        ("one_at_a_time", asked_again_while_open),
        ("one_at_a_time", sent_when_the_next_was_accepted),
        ("deadline", sent_late),
        ("cancelled", sent_after_cancel),
        ("truth", told_a_lie),
        ("truth", told_failed),
        ("told", never_told),
        ("agreement", attempt_without_a_line),
        ("agreement", post_without_a_record),
        ("agreement", sent_elsewhere),
        ("agreement", answer_that_never_was),
        ("agreement", other_ending_on_record),
        ("order", claimed_after_the_end),
        ("order", submitted_without_an_attempt),
        ("lines", line_not_written),
        ("repeats", repeat_of_another_destination),
        ("repeats", conflict_with_the_same_destination),
        ("served", left_lying),
        ("budget", slow_submission),
        ("errors", worker_that_raised),
    ],
)
def test_each_broken_promise_is_condemned(promise: str, crime: Callable[[History], None]) -> None:
    history = make_history()
    crime(history)

    assert promise in INVARIANTS
    assert promise in broken_promises(history)


def fault(kind: str, target: str, since_ms: float = 40.0, until_ms: float = 90.0) -> Fault:
    return Fault(kind=kind, target=target, begun_ms=START_MS + since_ms, ended_ms=START_MS + until_ms)


@pytest.mark.parametrize(
    ("excuse", "is_honest"),
    [
        (fault("kill", "w1"), True),
        (fault("pause_long", "w1"), True),
        (fault("redis_kill", "redis"), True),
        (fault("kill", "w2"), False),
        (fault("terminate", "w1"), False),
        (fault("cut", "w1"), False),
        (fault("pause_short", "w1"), False),
        (fault("platform_cut", "platform"), False),
        (fault("kill", "w1", 200.0, 300.0), False),
    ],
)
def test_a_worker_is_given_up_for_dead_only_with_a_cause(excuse: Fault, is_honest: bool) -> None:
    history = make_unknown("worker_died", "recovery")
    history.faults = [excuse]

    assert ("honest_unknown" in broken_promises(history)) is not is_honest


@pytest.mark.parametrize(
    ("behaviour", "is_honest"),
    [("silence", True), ("reset-not-done", True), ("ok", False), ("slow:0.4", False), ("503:1", False)],
)
def test_an_answer_counts_as_lost_only_if_the_platform_lost_it(behaviour: str, is_honest: bool) -> None:
    history = make_unknown()
    history.posts[0] = replace(history.posts[0], behaviour=behaviour)

    assert ("honest_unknown" in broken_promises(history)) is not is_honest


def test_a_cut_line_to_the_platform_is_a_lost_answer() -> None:
    history = make_unknown()
    history.posts[0] = replace(history.posts[0], behaviour="ok")
    history.faults = [fault("platform_cut", "platform")]

    assert broken_promises(history) == set()


def test_a_missing_record_is_never_honest() -> None:
    history = make_unknown("record_missing")
    history.faults = [fault("redis_kill", "redis")]

    assert "honest_unknown" in broken_promises(history)


def test_a_late_truth_after_a_pause_is_a_legal_course() -> None:
    history = make_unknown("worker_died", "recovery")
    history.faults = [fault("pause_long", "w1")]
    history.posts = [make_post()]
    history.lines.append(
        make_line(
            5,
            "resolved",
            300,
            attempt=1,
            state="submitted",
            reason="accepted_by_platform",
            source="worker",
            previous_state="unknown",
        )
    )
    history.records[ONE] = make_record()

    assert broken_promises(history) == set()


def test_a_transfer_may_wait_while_something_stands_in_the_way() -> None:
    history = make_history()
    left_lying(history)
    history.faults = [fault("redis_kill", "redis", 3000.0, 4000.0)]

    assert "served" not in broken_promises(history)


@pytest.mark.parametrize(("has_fault", "is_lost"), [(True, False), (False, True)])
def test_a_bare_celery_message_may_vanish_only_with_whoever_had_fetched_it(
    has_fault: bool, is_lost: bool
) -> None:
    history = make_history()
    history.asks.append(make_ask("celery", "sent", transfer_id=TWO))
    history.faults = [fault("kill", "w1")] if has_fault else []

    assert ("ended" in broken_promises(history)) is is_lost


def test_one_fault_excuses_one_lost_message() -> None:
    history = make_history()
    history.asks += [make_ask("celery", "sent", transfer_id=name) for name in ("celery-1", "celery-2")]
    history.faults = [fault("kill", "w1")]

    assert "ended" in broken_promises(history)


def test_a_repeated_and_a_torn_audit_line_are_counted_and_survived(tmp_path: Any) -> None:
    line = {"timestamp": "2026-01-01T00:00:00.000+00:00", "event": "transfer.accepted", "attempt": 0}
    texts = [
        json.dumps({**line, "event_id": "10-0", "transfer_id": ONE}),
        json.dumps({**line, "event_id": "9-0", "transfer_id": ONE}),
        json.dumps({**line, "event_id": "10-0", "transfer_id": ONE}),
        '{"timestamp": "2026-01-',
    ]
    path = tmp_path / "audit.jsonl"
    path.write_text("\n".join(texts))
    history = History()

    history.read_audit_file(path)

    assert [found.event_id for found in history.lines] == ["9-0", "10-0"]
    assert (history.repeated_lines, history.broken_lines) == (1, 1)
