"""A worker starts as a whole or not at all: what goes wrong ends it with words, before it takes a message."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from support import wait_until
from support.cluster import Cluster, make_intent
from support.operating import COMMAND
from support.waiting import DEADLINE_SECONDS
from transfer_tasks.outcome import State
from transfer_worker.runtime.lifeline import LastWords, Lifeline

if TYPE_CHECKING:
    from pathlib import Path

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferPublisher


def log_lines(worker: SpawnedProcess, event: str) -> list[dict[str, Any]]:
    """Return the lines of an event in a worker's output, in order."""
    lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def start_alone(cluster: Cluster, *, app: str = "transfer_worker", **environment: str) -> SpawnedProcess:
    """Start Celery without a supervisor, and without waiting for anything."""
    return cluster.spawn(
        [COMMAND[0], "-m", "celery", "-A", app, "worker", "-c", "2", "-n", "alone@test"],
        env=cluster.worker_environment() | environment,
        name="alone",
    )


@pytest.fixture
def no_file(tmp_path: Path) -> str:
    """An audit file that nobody can open, be it root: a folder has its name."""
    path = tmp_path / "audit.jsonl"
    path.mkdir()
    return str(path)


def test_a_worker_that_cannot_open_its_audit_file_ends_and_takes_no_message(
    cluster: Cluster, publisher: TransferPublisher, no_file: str
) -> None:
    handle = publisher.submit(make_intent(expires_in_seconds=60))
    worker = start_alone(cluster, TRANSFER_AUDIT_FILE=no_file)

    assert worker.wait() == 1
    (line,) = log_lines(worker, "worker.failed")
    assert "IsADirectoryError" in line["cause"]
    assert no_file in line["cause"]
    assert not log_lines(worker, "worker.started")
    client = cluster.ledger().client
    assert client.llen("transfers") == 1
    assert not client.keys("transfer:worker:*")  # no heartbeat: it would have been waited for

    cluster.start_worker()
    assert handle.outcome().state is State.SUBMITTED


def test_the_supervisor_starts_it_again_and_says_why(
    cluster: Cluster, publisher: TransferPublisher, no_file: str, tmp_path: Path
) -> None:
    worker = cluster.spawn(
        [*COMMAND, "worker", "-c", "2"],
        env=cluster.worker_environment() | {"TRANSFER_AUDIT_FILE": no_file},
        name="supervised",
    )
    (first, *_) = wait_until(lambda: log_lines(worker, "worker.restarted"), message=worker.output)
    assert first["exit_code"] == 1
    assert first["why"] == f"start_process: IsADirectoryError: [Errno 21] Is a directory: '{no_file}'"
    (tmp_path / "audit.jsonl").rmdir()  # somebody has put it right
    worker.wait_for_output(" ready.")
    assert publisher.submit(make_intent(expires_in_seconds=60)).outcome().state is State.SUBMITTED


@pytest.mark.parametrize("step", ["configure_worker", "start_process", "spare_the_garbage_collector"])
def test_whatever_a_step_of_the_start_raises_ends_the_process(cluster: Cluster, step: str) -> None:
    worker = start_alone(cluster, app="support.failing_worker", FAILING_STEP=step)
    assert worker.wait() == 1
    assert "worker.failed" in worker.output()  # not as JSON, if it is the log that can't be set up
    assert f"{step}: RuntimeError: no {step}" in worker.output()


def test_whatever_a_part_of_the_end_raises_the_others_end_and_the_exit_code_says_so(cluster: Cluster) -> None:
    worker = start_alone(cluster, app="support.failing_worker", FAILING_STEP="stop_process")
    worker.wait_for_output(" ready.")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 1
    (line,) = log_lines(worker, "worker.failed")
    assert line["cause"] == "stop_process: RuntimeError: no stop_process"
    assert "the gateway is closed" in worker.output()


def test_a_thread_that_dies_ends_the_process_once_the_transfers_in_flight_have_ended(
    cluster: Cluster, publisher: TransferPublisher
) -> None:
    worker = start_alone(cluster, app="support.failing_worker", FAILING_STEP="recovery")
    worker.wait_for_output(" ready.")
    intent = make_intent(expires_in_seconds=60)
    cluster.sandbox.controls.script(intent.call_id, ["slow:1"])
    handle = publisher.submit(intent)
    wait_until(lambda: cluster.sandbox.post_count(intent.call_id) == 1)
    cluster.ledger().client.set("transfer:test:fail-now", "1", ex=60)
    assert worker.wait() == 1
    (line,) = log_lines(worker, "worker.failed")
    assert line["cause"] == "thread recovery: RuntimeError: no recovery"
    assert handle.outcome().state is State.SUBMITTED


def test_what_celery_says_when_it_gives_up_reaches_whoever_started_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    words = LastWords()
    with Lifeline() as lifeline, (tmp_path / "output").open("wb") as output, closing(words):
        worker = lifeline.spawn(
            [
                COMMAND[0],
                "-m",
                "transfer_worker.runtime.celery_command",
                "-A",
                "support.failing_worker",
                "worker",
            ],
            env={**os.environ, **cluster.worker_environment(), "FAILING_STEP": "consumer"},
            output=output,
            words=words,
        )
        assert worker.wait(DEADLINE_SECONDS) == 1
        assert words.read() == "Unrecoverable error: RuntimeError('no consumer')"


def test_what_the_registry_asks_for_beyond_the_rules_is_said_and_carried_out(
    cluster: Cluster, publisher: TransferPublisher, tmp_path: Path
) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text('[hotline]\ndescription = "At extra cost"\nendpoints = ["+1 900-555-0143"]\n')
    worker = cluster.start_worker(TRANSFER_DESTINATIONS_FILE=str(file))
    (line,) = log_lines(worker, "registry.beyond_rules")
    assert (line["level"], line["seen"]) == (
        "warning",
        "[hotline] endpoints[0]: +1*******43 may cost more than an ordinary call",
    )
    assert publisher.submit(make_intent("hotline")).outcome().state is State.SUBMITTED
