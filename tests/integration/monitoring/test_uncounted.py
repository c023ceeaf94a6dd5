"""What steps have noted and no heartbeat has added yet: whoever reads sees the same before and after."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support.ledger_bench import LedgerBench, finish, start
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_worker.monitoring.present import read_present
from transfer_worker.monitoring.statistics import read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_worker.monitoring.counts import Counts

pytestmark = pytest.mark.usefixtures("no_key_leaks")

NOTES_WITHOUT_A_HEARTBEAT = 300
"""scripts/frame/start.lua"""


def retry_once(bench: LedgerBench) -> None:
    claim = start(bench)
    bench.retry(claim)
    bench.begin(claim, attempt=2)
    bench.end(claim)


def resolve_one(bench: LedgerBench) -> None:
    claim = start(bench)
    bench.lose_answer(claim)
    bench.resolve(claim.transfer_id, transferred=True)


def ask_twice(bench: LedgerBench) -> None:
    call_id = bench.record(bench.accept().transfer_id).call_id
    bench.accept(call_id=call_id)
    bench.accept(call_id=call_id, destination="billing")


COURSES: list[Callable[[LedgerBench], Any]] = [
    finish,
    lambda bench: finish(bench, state=State.REJECTED, reason=Reason.CALL_NOT_FOUND, destination="billing"),
    lambda bench: bench.cancel(bench.accept().transfer_id),
    lambda bench: bench.expire(bench.accept(remaining_ms=0).transfer_id),
    retry_once,
    resolve_one,
    ask_twice,
]
VERDICTS = {"transfer.repeated": "repeat", "transfer.refused": "in_progress"}


def count_lines(bench: LedgerBench) -> Counter[str]:
    """What must have been counted, by the audit lines: each is written in the step that it tells of."""
    told: Counter[str] = Counter()
    for line in bench.audit():
        match line["event"]:
            case "transfer.accepted":
                told["accepted"] += 1
            case "transfer.finished":
                told[f"ended|{line['state']}|{line['reason']}|{line['destination']}"] += 1
                told[f"posts|{line['attempt']}"] += 1
                told["outcome_ms"] += 1
                told["outcome_ms_sum"] += line["waited_ms"]
                if line["attempt"]:
                    told[f"attempt|{line['reason']}"] += 1
            case "transfer.retry_scheduled":
                told[f"attempt|{line['reason']}"] += 1
            case "transfer.attempt_started" if line["attempt"] == 1:
                told["post_ms"] += 1
            case "transfer.resolved":
                told[f"resolved|{line['state']}|{line['reason']}"] += 1
            case "transfer.repeated" | "transfer.refused" as event:
                told[f"stood_back|{VERDICTS[event]}"] += 1
    return told


def told_by(counts: Counts) -> Counter[str]:
    """The same of the counters; a histogram by all that it holds."""
    seen = Counter(
        {field: value for field, value in counts.items() if not field.startswith(("post_ms", "outcome_ms"))}
    )
    seen["post_ms"], seen["outcome_ms"] = (sum(counts.histogram(of)) for of in ("post_ms", "outcome_ms"))
    seen["outcome_ms_sum"] = counts["outcome_ms_sum"]
    return seen


@pytest.mark.parametrize("seed", range(5))
def test_the_counters_tell_what_the_audit_lines_tell_whenever_they_are_read(bench, seed):
    chance = random.Random(seed)
    for _ in range(40):
        chance.choice(COURSES)(bench)
        if chance.random() < 0.2:
            bench.heartbeat()
        totals = read_present(bench.ledger).totals
        assert +told_by(totals) == +count_lines(bench)
    # All of it was within the last minutes, or the test has stood still.
    windows = read_status(bench.ledger).windows
    assert sum(windows[-1].outcomes.values()) == sum(
        value for field, value in totals.items() if field.startswith("ended|")
    )


@pytest.mark.parametrize("fields", [0, *range(1980, 2001, 4)])
def test_a_heartbeat_changes_where_it_stands_and_not_what_is_read(bench, fields):
    bench.heartbeat()
    if fields:
        bench.client.hset(bench.keys.statistics, mapping={f"ended|x|y|{n}": 1 for n in range(fields)})
        bench.client.expire(bench.keys.statistics, 1000)
    for course in COURSES:
        course(bench)
    before = read_present(bench.ledger).totals
    assert bench.client.exists(bench.keys.uncounted)

    bench.heartbeat()

    assert not bench.client.exists(bench.keys.uncounted)
    assert read_present(bench.ledger).totals == before


def test_when_a_source_was_heard_counts_what_no_heartbeat_has_added(bench):
    for call_id in ("call-1", "call-2"):
        bench.end(bench.begin_first(call_id), answer_json=f'{{"request_id": "r-{call_id}"}}')
    bench.heartbeat()
    bench.end(bench.begin_first("call-3"), answer_json='{"request_id": "r-3"}')
    bench.report("ringing", "call-3", "r-3")
    assert [heard.accepted_since for heard in read_present(bench.ledger).heard.values()] == [0]

    bench.end(bench.begin_first("call-4"))

    assert [heard.accepted_since for heard in read_present(bench.ledger).heard.values()] == [1]


def test_without_a_heartbeat_the_notes_stay_few(bench):
    for _ in range(NOTES_WITHOUT_A_HEARTBEAT + 10):
        bench.cancel(bench.accept(remaining_ms=10**6).transfer_id)
        assert bench.client.llen(bench.keys.uncounted) < NOTES_WITHOUT_A_HEARTBEAT

    assert bench.counted("accepted") == NOTES_WITHOUT_A_HEARTBEAT + 10
    assert +told_by(read_present(bench.ledger).totals) == +count_lines(bench)


def test_whoever_reads_while_others_count_sees_no_step_twice_and_none_missing(bench, redis_url):
    """A counter that is read lower than before is a restart to Prometheus."""
    is_over = threading.Event()

    def add_up() -> None:
        with connect(redis_url, timeout_seconds=30) as client:
            worker = LedgerBench(client)
            while not is_over.is_set():
                worker.heartbeat()

    adding = [threading.Thread(target=add_up) for _ in range(2)]
    for thread in adding:
        thread.start()
    try:
        for accepted in range(1, 150):
            bench.accept()
            assert bench.counted("accepted") == accepted
    finally:
        is_over.set()
        for thread in adding:
            thread.join()


@pytest.mark.parametrize(
    "junk", ["junk", "", "1\n", "1\nb1", "1\nb1 ", "x\nb1 accepted", "1\nb1x accepted", "1\nz1 accepted"]
)
def test_a_note_that_nobody_can_read_counts_nothing_and_keeps_no_other_from_counting(bench, junk):
    finish(bench)
    bench.client.rpush(bench.keys.uncounted, junk)
    finish(bench)
    assert read_present(bench.ledger).damaged_keys == (bench.keys.uncounted,)
    before = read_present(bench.ledger).totals
    assert before["accepted"] == 2

    bench.heartbeat()

    present = read_present(bench.ledger)
    assert (present.totals, present.damaged_keys) == (before, ())
