"""What becomes of audit lines that nobody writes: kept, counted, told; dropped where Redis would fill up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.script import load_script
from transfer_tasks.redis.connection import connect
from transfer_worker.audit.outbox import GROUP
from transfer_worker.monitoring.present import read_present
from transfer_worker.monitoring.statistics import read_status
from transfer_worker.operations.doctor.workers import check_audit
from transfer_worker.operations.status.concerns import find_concerns
from transfer_worker.runtime.preflight import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = 100
"""So many lines Redis trims at once, where it need not be exact."""


@pytest.fixture
def bench(redis_url: str) -> Iterator[LedgerBench]:
    with connect(redis_url, timeout_seconds=5) as client:
        yield LedgerBench(client)


def add_lines(bench: LedgerBench, count: int, *, age_ms: int = 0) -> None:
    seconds, _ = bench.client.time()
    with bench.client.pipeline() as pipe:
        for number in range(count):
            pipe.xadd(bench.keys.audit, {"line": number}, id=f"{seconds * 1000 - age_ms}-{number}")
        pipe.execute()


def read(bench: LedgerBench, count: int, *, worker: str = "w1") -> list[str]:
    bench.client.xgroup_create(bench.keys.audit, GROUP, id="0", mkstream=True)
    return read_more(bench, count, worker=worker)


def read_more(bench: LedgerBench, count: int, *, worker: str = "w1") -> list[str]:
    reply: Any = bench.client.xreadgroup(GROUP, worker, {bench.keys.audit: ">"}, count=count)
    return [event_id for event_id, _ in reply[0][1]]


def write(bench: LedgerBench, event_ids: list[str]) -> None:
    bench.client.xack(bench.keys.audit, GROUP, *event_ids)


def length(bench: LedgerBench) -> int:
    return int(bench.client.xlen(bench.keys.audit))


def test_no_step_trims() -> None:
    assert "MAXLEN" not in load_script("accept").source
    assert "XTRIM" not in load_script("accept").source


def test_the_sweep_drops_what_is_written_beyond_what_is_kept_and_nothing_else(bench: LedgerBench) -> None:
    add_lines(bench, 10 * NODE)
    write(bench, read(bench, 10 * NODE))

    assert bench.recover(audit_kept=2 * NODE, audit_bound=10**6).lost_lines == 0

    assert 2 * NODE <= length(bench) <= 3 * NODE
    assert not bench.counted("audit_lines_lost")


@pytest.mark.parametrize("is_read", [True, False])
def test_what_nobody_has_written_stays_up_to_the_bound(bench: LedgerBench, is_read: bool) -> None:
    add_lines(bench, 10 * NODE)
    read(bench, 10 * NODE if is_read else 1)

    assert bench.recover(audit_kept=2 * NODE, audit_bound=10 * NODE).lost_lines == 0

    assert length(bench) == 10 * NODE


def test_a_line_that_one_worker_holds_keeps_those_behind_it(bench: LedgerBench) -> None:
    add_lines(bench, 10 * NODE)
    held = read(bench, 5 * NODE)
    write(bench, held[:-1])
    write(bench, read_more(bench, 5 * NODE, worker="w2"))

    bench.recover(audit_kept=NODE, audit_bound=10**6)

    assert length(bench) >= 5 * NODE + 1
    assert bench.client.xrange(bench.keys.audit, held[-1], held[-1])


def test_beyond_the_bound_unwritten_lines_go_and_are_counted(bench: LedgerBench) -> None:
    add_lines(bench, 10 * NODE)
    lines = read(bench, 3 * NODE)  # of the eldest 400: 100 are written, 200 are held, 100 nobody has read
    write(bench, lines[:NODE])

    assert bench.recover(audit_kept=NODE, audit_bound=6 * NODE).lost_lines == 3 * NODE

    assert length(bench) == 6 * NODE
    assert bench.counted("audit_lines_lost") == 3 * NODE
    assert bench.client.xpending(bench.keys.audit, GROUP)["pending"] == 0
    assert len(read_more(bench, 10 * NODE)) == 6 * NODE


def test_where_there_never_was_a_writer_the_bound_holds_too(bench: LedgerBench) -> None:
    add_lines(bench, 5 * NODE)
    assert bench.recover(audit_kept=NODE, audit_bound=2 * NODE).lost_lines == 3 * NODE
    assert length(bench) == 2 * NODE


def test_an_entry_with_two_lines_is_two_that_are_lost(bench: LedgerBench) -> None:
    bench.heartbeat()
    for _ in range(2):
        bench.claim_and_begin(bench.accept().transfer_id)  # accepted; claimed and started in one
    assert bench.recover(audit_kept=1, audit_bound=1).lost_lines == 4
    assert [line["event"] for line in bench.audit()] == ["transfer.claimed", "transfer.attempt_started"]


# --- what is told of it


def test_without_any_line_nobody_is_behind(bench: LedgerBench) -> None:
    assert read_present(bench.ledger).audit == (0, 0.0)


@pytest.mark.parametrize("is_read", [True, False])
def test_the_backlog_is_told_with_its_age(bench: LedgerBench, is_read: bool) -> None:
    add_lines(bench, 30, age_ms=100_000)
    lines = read(bench, 30 if is_read else 10)
    write(bench, lines[:10])

    backlog = read_present(bench.ledger).audit

    assert backlog.lines == 20
    assert 99 <= backlog.oldest_seconds < 160
    assert backlog.is_late


def test_what_is_written_is_no_backlog(bench: LedgerBench) -> None:
    add_lines(bench, 30, age_ms=100_000)
    write(bench, read(bench, 30))
    assert read_present(bench.ledger).audit == (0, 0.0)


def test_status_and_doctor_name_a_writer_that_is_behind(bench: LedgerBench) -> None:
    bench.heartbeat()
    add_lines(bench, 30, age_ms=100_000)
    read(bench, 30)

    status = read_status(bench.ledger)

    (concern,) = [concern.text for concern in find_concerns(status, ()) if "audit" in concern.text]
    assert concern.startswith("The audit log is behind: 30 lines, the oldest for 10")
    finding = check_audit(status)
    assert finding.verdict is Verdict.PROBLEM
    assert "30 lines are in no log yet" in finding.seen


def test_status_and_doctor_name_lines_that_were_lost(bench: LedgerBench) -> None:
    add_lines(bench, 5 * NODE)
    bench.recover(audit_kept=NODE, audit_bound=2 * NODE)
    write(bench, read(bench, 5 * NODE))

    status = read_status(bench.ledger)

    (concern,) = [concern.text for concern in find_concerns(status, ()) if "audit" in concern.text]
    assert concern.startswith("300 audit lines were dropped unwritten")
    assert check_audit(status).verdict is Verdict.WARNING
