"""The judge, on histories written by hand: one that is whole, and for each promise one that breaks it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chaos.auditor import Auditor
from chaos.histories import (
    ELSEWHERE,
    ONE,
    START_MS,
    TWO,
    fault,
    make_ask,
    make_ended,
    make_history,
    make_line,
    make_neighbour_task,
    make_post,
    make_record,
    make_unknown,
)
from chaos.history import Fault, History
from chaos.verdict import INVARIANTS
from chaos.witness import Beat, read_beats, take_beat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


def audit_file_accused(history: History) -> None:
    history.audit_faults.append("line 3 of the audit file: changed")


def line_not_printed(history: History) -> None:
    history.printed_ids.remove("2-0")


def deadline_by_a_wrong_clock(history: History) -> None:
    history.records[ONE] = make_record(expires_ms=int(START_MS + 100_000))


def send_plainly(history: History, way: str, **fields: Any) -> None:
    """Make the one transfer one that a producer sent who only has Celery."""
    history.asks[0] = make_ask("celery", "sent", about=way, **fields)


def refused_though_it_said_until_when(history: History) -> None:
    history.records[ONE] = make_record(state="rejected", reason="deadline_unknown")
    send_plainly(history, "expires")


def carried_out_though_it_was_a_canvas(history: History) -> None:
    send_plainly(history, "canvas")


def carried_out_beside_the_same_ids_first(history: History) -> None:
    send_plainly(history, "same_id", call_id="call-2")
    history.posts.append(make_post(call_id="call-2"))


def ended_without_a_line(history: History) -> None:
    send_plainly(history, "expires")
    del history.lines[3]


def neighbours_task_begun_twice(history: History) -> None:
    history.neighbour_tasks.append(make_neighbour_task(starts=2))


def neighbours_task_never_begun(history: History) -> None:
    history.neighbour_tasks.append(make_neighbour_task(starts=0))


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
    history.asks[0] = make_ask("submit", "accepted", about=ONE, took_ms=2100.0, expires_ms=START_MS + 10_000)


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
        ("lines", audit_file_accused),
        ("lines", line_not_printed),
        ("deadline", deadline_by_a_wrong_clock),
        ("plain", refused_though_it_said_until_when),
        ("plain", carried_out_though_it_was_a_canvas),
        ("plain", carried_out_beside_the_same_ids_first),
        ("plain", ended_without_a_line),
        ("neighbour", neighbours_task_begun_twice),
        ("neighbour", neighbours_task_never_begun),
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


@pytest.mark.parametrize(("slowness", "is_blamed"), [(0.5, True), (1.0, True), (1.9, True), (2.1, False)])
def test_a_transfer_may_wait_for_longer_where_a_worker_starts_more_slowly(
    slowness: float, is_blamed: bool
) -> None:
    history = make_history()
    left_lying(history)  # for eight seconds
    history.beats = [Beat(at_ms=START_MS + 500 * number, slowness=slowness) for number in range(20)]

    assert ("served" in broken_promises(history)) is is_blamed


def test_how_slow_the_machine_was_at_another_time_is_no_excuse() -> None:
    history = make_history()
    left_lying(history)
    history.beats = [Beat(at_ms=START_MS - 500 * number, slowness=20.0) for number in range(1, 20)]

    assert "served" in broken_promises(history)


def test_a_witness_takes_down_what_a_moment_took(tmp_path: Path) -> None:
    beat = take_beat()
    path = tmp_path / "witness.txt"
    path.write_text(f"{beat.at_ms:.0f} {beat.slowness:.2f}\n18000", "utf-8")

    (read,) = read_beats(path)

    assert read.slowness >= 0.9  # the two clocks differ in their grain
    assert abs(read.slowness - beat.slowness) < 0.01


def test_a_neighbour_may_run_a_task_again_while_redis_is_away() -> None:
    history = make_history()
    neighbours_task_begun_twice(history)
    history.faults = [fault("redis_kill", "redis")]

    assert "neighbour" not in broken_promises(history)


@pytest.mark.parametrize(
    ("said", "is_told"),
    [
        ("Task transfer_tasks.transfer_call[1] raised unexpected: LedgerUnavailable('gone')", False),
        ("Task neighbour.hold[1] raised unexpected: network:ConnectionError", False),
        ("Task neighbour.hold[1] raised unexpected: TimeoutError('slow')", False),
        ("Task transfer_tasks.transfer_call[1] raised unexpected: network:ConnectionError", True),
        ("Task neighbour.hold[1] raised unexpected: NameError('x')", True),
    ],
)
def test_a_task_that_raised_because_redis_was_away_is_not_blamed(
    said: str, is_told: bool, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    log.write_text(f"[2026-11-26 19:13:59,351: ERROR/MainProcess] {said}\n", "utf-8")
    history = make_history()

    history.read_worker_log(log)

    assert ("errors" in broken_promises(history)) is is_told


@pytest.mark.parametrize("way", ["expires", "short", "countdown", "no_deadline", "revoked", "same_id"])
def test_a_plain_message_that_was_carried_out_is_not_blamed(way: str) -> None:
    history = make_history()
    send_plainly(history, way)

    assert broken_promises(history) == set()


@pytest.mark.parametrize(("has_fault", "is_lost"), [(True, False), (False, True)])
def test_a_bare_celery_message_may_vanish_only_with_whoever_had_fetched_it(
    has_fault: bool, is_lost: bool
) -> None:
    history = make_history()
    history.asks.append(make_ask("celery", "sent", transfer_id=TWO, about="expires"))
    history.faults = [fault("kill", "w1")] if has_fault else []

    assert ("ended" in broken_promises(history)) is is_lost


def test_one_fault_excuses_one_lost_message() -> None:
    history = make_history()
    history.asks += [
        make_ask("celery", "sent", transfer_id=name, about="expires") for name in ("celery-1", "celery-2")
    ]
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
