"""A worker of several processes: they share the slots, and each is brought back by itself."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from support import wait_until
from support.cluster import Cluster, make_intent
from support.kinship import descendants, still_running
from transfer_tasks.outcome import State
from transfer_worker.local.stack import Stack
from transfer_worker.monitoring.present import read_present

if TYPE_CHECKING:
    from pathlib import Path

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferHandle, TransferPublisher

FULL = 4
"""The slots of `Cluster.start_supervised`."""


def log_lines(worker: SpawnedProcess, event: str) -> list[dict[str, Any]]:
    """Return the lines of an event in a worker's output, in order."""
    lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def find_processes(worker: SpawnedProcess) -> dict[str, int]:
    """Return the id of each process that carries transfers out, by the name that Celery has for it."""
    started = [line["worker"].partition("/") for line in log_lines(worker, "worker.started")]
    return {name.partition("@")[0]: int(rest.partition("-")[0]) for name, _, rest in started}


def submit_slow(cluster: Cluster, publisher: TransferPublisher) -> list[TransferHandle]:
    """Submit as many transfers as there are slots, and wait until the POST of each is out.

    None has its answer by then, so each process has filled its share of the slots.
    """
    before = len(cluster.sandbox.requests())
    intents = [make_intent(expires_in_seconds=60) for _ in range(FULL)]
    for intent in intents:
        cluster.sandbox.controls.script(intent.call_id, ["slow:2"])
    handles = [publisher.submit(intent) for intent in intents]
    wait_until(lambda: len(cluster.sandbox.requests()) == before + FULL, message="all POSTs are out")
    ledger = cluster.ledger()
    with ledger.client:
        records = [ledger.read(handle.transfer_id) for handle in handles]
    assert [record and record.state for record in records] == [State.SENDING] * FULL
    return handles


def test_both_processes_carry_transfers_out_once_each_and_one_that_is_killed_comes_back(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.jsonl"
    cluster.environment["TRANSFER_AUDIT_FILE"] = str(audit)
    worker = cluster.start_supervised(processes=2)
    first, second = f"transfer-{worker.pid}-1", f"transfer-{worker.pid}-2"
    before = find_processes(worker)
    assert set(before) == {first, second}
    present = read_present(cluster.ledger()).workers
    assert [process.about["concurrency"] for process in present] == [2, 2]

    handles = submit_slow(cluster, publisher)
    handles += [publisher.submit(make_intent(expires_in_seconds=60)) for _ in range(40)]
    assert {handle.outcome().state for handle in handles} == {State.SUBMITTED}
    # Both wrote to the file: each line stands there whole, and once.
    wait_until(lambda: audit.read_text().count('"transfer.finished"') == len(handles))
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert len({line["event_id"] for line in lines}) == len(lines)
    claimed_by = Counter(line["worker"].partition("@")[0] for line in lines if "worker" in line)
    assert set(claimed_by) == {first, second}

    os.kill(before[first], signal.SIGKILL)
    worker.wait_for_output(rf"(?s){first}@\S+ ready\..*{first}@\S+ ready\.")
    handles += submit_slow(cluster, publisher)
    restarted = [(line["worker"], line["exit_code"]) for line in log_lines(worker, "worker.restarted")]
    assert restarted == [(first, -signal.SIGKILL)]
    after = find_processes(worker)
    assert after[first] != before[first]
    assert after[second] == before[second]

    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert {handle.outcome().state for handle in handles} == {State.SUBMITTED}
    posts = Counter(request["call_id"] for request in cluster.sandbox.requests())
    assert (len(posts), set(posts.values())) == (len(handles), {1})


def test_a_supervisor_that_is_killed_takes_all_processes_with_it(cluster: Cluster) -> None:
    worker = cluster.start_supervised(processes=2)
    family = descendants(worker.pid)
    assert len(family) == 2

    worker.send_signal(signal.SIGKILL)

    wait_until(lambda: not still_running(family))


def test_wrong_settings_end_all_processes_with_exit_code_2(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "destinations.toml").write_text("[support]\n")
    wrong = {"TRANSFER_DESTINATIONS_FILE": str(tmp_path / "destinations.toml"), "TRANSFER_PROCESSES": "2"}

    worker = cluster.spawn(
        [sys.executable, "-m", "transfer_worker", "worker"], env=cluster.worker_environment() | wrong
    )

    assert worker.wait() == 2
    assert "[support] description" in worker.output()
    assert "worker.restarted" not in worker.output()
    assert "Traceback" not in worker.output()


def test_a_stack_waits_until_every_process_consumes(cluster: Cluster, tmp_path: Path) -> None:
    env = {**os.environ, **cluster.worker_environment(), "TRANSFER_PROCESSES": "3"}
    with Stack(tmp_path) as stack:
        worker = stack.add_worker(env=env, process_count=3)
        assert worker.log_path.read_text().count(" ready.") == 3
