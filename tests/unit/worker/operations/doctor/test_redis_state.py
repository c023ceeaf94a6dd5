"""What `doctor` says about clocks, memory and disk: the cases that a test can't do to a real Redis."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from transfer_worker.operations.doctor import redis_state
from transfer_worker.runtime.findings import Finding, Verdict

MIB = 2**20


@pytest.mark.parametrize(
    ("ahead_seconds", "verdict", "said"),
    [
        (0, "ok", "ms apart"),
        (-3.0, "warning", "3.0 s behind ours"),
        (90.0, "warning", "90.0 s ahead of ours"),
    ],
)
def test_clocks_that_differ_are_told_with_their_direction(ahead_seconds, verdict, said):
    now = time.time() + ahead_seconds
    client = SimpleNamespace(time=lambda: (int(now), int(now % 1 * 1_000_000)))

    found = redis_state.check_clocks(client)

    assert found.verdict == verdict
    assert said in found.seen
    assert bool(found.fix) == (found.verdict is not Verdict.OK)


@pytest.mark.parametrize(
    ("used", "most", "verdict", "said"),
    [
        (50 * MIB, 0, "ok", "50.0 MiB of the machine"),
        (50 * MIB, 100 * MIB, "ok", "50.0 MiB of 100.0 MiB"),
        (95 * MIB, 100 * MIB, "warning", "95.0 MiB of 100.0 MiB"),
        (100 * MIB, 100 * MIB, "problem", "it is full, and takes no request"),
    ],
)
def test_memory_is_judged_before_it_is_full(used, most, verdict, said):
    status = SimpleNamespace(redis=SimpleNamespace(used_memory_bytes=used, max_memory_bytes=most))

    found = redis_state.check_memory(status)

    assert (found.verdict, said in found.seen) == (verdict, True)


@pytest.mark.parametrize("name", ["aof_last_write_status", "rdb_last_bgsave_status"])
def test_a_redis_that_cannot_write_is_a_problem(name):
    def look(status: str) -> Finding:
        return redis_state.check_disk(SimpleNamespace(info=lambda _section: {name: status}))

    assert look("ok").verdict is Verdict.OK
    found = look("err")
    assert (found.verdict, name in found.seen) == (Verdict.PROBLEM, True)
