"""From the death of a worker to the POST of what it had not sent.

Usage: python -m benchmarks.single.recovery [ROUNDS]

Each round a worker is stopped dead right after its claim (tests/support/pausing_worker.py), then killed with
SIGKILL. The sandbox says when the POST came. Two rows: by a second worker that runs beside it, counted from
the kill; by a lone worker that is started anew, counted from the moment it is ready.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import ProcessSpawner, wait_until  # noqa: E402 - the tests' tools are no package
from support.cluster import Cluster, make_intent  # noqa: E402
from transfer_worker.local.embedded_redis import EmbeddedRedis  # noqa: E402
from transfer_worker.sandbox import SandboxServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferPublisher


def leave_claimed(
    cluster: Cluster, publisher: TransferPublisher, reached: Path
) -> tuple[SpawnedProcess, str]:
    """Have a worker claim a transfer and stop dead; return the worker and the call."""
    sick = cluster.start_worker(app="support.pausing_worker", PAUSE_AT="after_claim", PAUSE_FILE=str(reached))
    while True:
        intent = make_intent(expires_in_seconds=60)
        handle = publisher.submit(intent)
        is_sent = partial(cluster.sandbox.post_count, intent.call_id)
        wait_until(partial(_either, reached.exists, is_sent), 10, message="the transfer is claimed")
        record = cluster.ledger().read(handle.transfer_id)
        # The well worker may have been quicker: then try again.
        if reached.exists() and record is not None and record.state == "claimed":
            return sick, intent.call_id


def _either(one: Callable[[], object], other: Callable[[], object]) -> bool:
    return bool(one() or other())


def seconds_to_post(cluster: Cluster, call_id: str, since: float) -> float:
    """Wait for the call's POST; return how long after `since` it came."""
    wait_until(lambda: cluster.sandbox.post_count(call_id) == 1, 20, message="the POST")
    (post,) = cluster.sandbox.requests(call_id=call_id)
    return float(post["received_at_ms"]) / 1000 - since


def measure_second_worker(
    cluster: Cluster, publisher: TransferPublisher, scratch: Path, rounds: int
) -> list[float]:
    """Kill a worker beside a well one."""
    cluster.start_worker()
    seconds = []
    for number in range(rounds):
        sick, call_id = leave_claimed(cluster, publisher, scratch / f"second-{number}")
        killed_at = time.time()
        sick.send_signal(signal.SIGKILL)
        seconds.append(seconds_to_post(cluster, call_id, killed_at))
    return seconds


def measure_lone_worker(
    cluster: Cluster, publisher: TransferPublisher, scratch: Path, rounds: int
) -> list[float]:
    """Kill the only worker, and start another."""
    seconds = []
    for number in range(rounds):
        sick, call_id = leave_claimed(cluster, publisher, scratch / f"lone-{number}")
        sick.send_signal(signal.SIGKILL)
        successor = cluster.start_worker()
        seconds.append(seconds_to_post(cluster, call_id, time.time()))
        successor.send_signal(signal.SIGTERM)
        successor.wait(10)
    return seconds


def main(rounds: int) -> None:
    """Measure both and print them as JSON."""
    results = {}
    for name, measure in {"second worker": measure_second_worker, "lone worker": measure_lone_worker}.items():
        with tempfile.TemporaryDirectory() as folder, EmbeddedRedis() as server, SandboxServer() as sandbox:
            spawn = ProcessSpawner(Path(folder))
            cluster = Cluster(redis_url=server.url, sandbox=sandbox, spawn=spawn)
            with cluster.publisher() as publisher:
                seconds = measure(cluster, publisher, Path(folder), rounds)
            for child in spawn._children:  # noqa: SLF001 - without printing what they said
                child.kill_group()
            results[name] = {
                "rounds": rounds,
                "median_seconds": round(statistics.median(seconds), 2),
                "min_seconds": round(min(seconds), 2),
                "max_seconds": round(max(seconds), 2),
                "posts": len(sandbox.requests()),
            }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
