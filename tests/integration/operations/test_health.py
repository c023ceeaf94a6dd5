"""Whether the workers on this machine work: what a process that is merely there does not show."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys

from support import wait_until
from support.kinship import children


def check(cluster, timeout="30"):
    """Return the exit code and what is said; in a process of its own, as a container's check is."""
    checked = cluster.spawn(
        [sys.executable, "-m", "transfer_worker", "health", "--json", "--timeout", timeout],
        env=cluster.worker_environment(),
        name="health",
    )
    code = checked.wait(90)
    return code, json.loads(checked.output())


def test_a_worker_is_healthy_while_it_beats_and_its_consumer_answers(cluster, bench):
    assert check(cluster) == (1, {"is_good": False, "beating": [], "answering": []})

    worker = cluster.start_supervised()
    code, found = check(cluster)

    assert (code, found["is_good"]) == (0, True)
    assert found["beating"] == found["answering"]
    assert found["beating"][0].endswith(f"@{platform.node()}")
    (process,) = children(worker.pid)
    # It stands still and its lease goes on, as if its heartbeat were alive and its consumer were not.
    os.kill(process, signal.SIGSTOP)
    try:
        (name,) = bench.client.zrange(bench.keys.workers, 0, -1)
        bench.client.set(bench.keys.worker(name), "{}", ex=600)
        code, found = check(cluster, timeout="2")
        assert (code, found["is_good"], found["answering"]) == (1, False, [])
        assert found["beating"] == [name.partition("/")[0]]
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until(lambda: check(cluster)[0] == 0, 90, message="it is healthy again")


def test_workers_on_other_machines_do_not_count(cluster, bench):
    bench.heartbeat("transfer-1@elsewhere/1-abc")
    assert check(cluster)[0] == 1


def test_a_redis_that_is_away_is_exit_code_3(ask, monkeypatch):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")
    assert ask("health").exit_code == 3
