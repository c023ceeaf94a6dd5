"""Another Celery application on the same Redis database: neither reads, restores or stops the other's."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from support import ProcessSpawner, SpawnedProcess, wait_until
from support.cluster import OK_NUMBER, Cluster, make_intent
from transfer_tasks.ledger.keys import Keys
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.publisher import TransferPublisher

LONGER_THAN_OUR_VISIBILITY_TIMEOUT = 16.0


def start_neighbour(
    cluster: Cluster, spawn: ProcessSpawner, *, visibility_seconds: int = 3600
) -> SpawnedProcess:
    worker = spawn(
        [sys.executable, "-m", "celery", "-A", "support.neighbour_app", "worker", "-c", "4",
         "-P", "threads", "-l", "INFO", "-n", "neighbour@test"],
        env=neighbour_environment(cluster) | {"NEIGHBOUR_VISIBILITY_SECONDS": str(visibility_seconds)},
        name="neighbour",
    )  # fmt: skip
    worker.wait_for_output(r"ready\.")
    return worker


def neighbour_environment(cluster: Cluster) -> dict[str, str]:
    return {"TRANSFER_REDIS_URL": cluster.redis_url, "PYTHONPATH": str(Path(__file__).parents[1])}


def run_celery(cluster: Cluster, spawn: ProcessSpawner, app: str, *words: str) -> str:
    environment = cluster.worker_environment() if app == "transfer_worker" else neighbour_environment(cluster)
    command = spawn([sys.executable, "-m", "celery", "-A", app, *words], env=environment, name="control")
    command.wait(20)
    return command.output()


@pytest.mark.slow
def test_long_and_delayed_tasks_of_a_neighbour_run_once_beside_our_worker(
    cluster: Cluster, publisher: TransferPublisher, spawn: ProcessSpawner
) -> None:
    cluster.start_worker()
    start_neighbour(cluster, spawn)
    client = cluster.ledger().client
    with Celery("producer", broker=cluster.redis_url) as producer:
        producer.send_task("neighbour.hold", ("long", LONGER_THAN_OUR_VISIBILITY_TIMEOUT))
        producer.send_task("neighbour.hold", ("delayed", 0), countdown=LONGER_THAN_OUR_VISIBILITY_TIMEOUT)

    # Both have ended, and nothing of theirs is left to be run again.
    wait_until(
        lambda: client.get("neighbour:starts:delayed") and not client.exists("unacked"),
        2 * LONGER_THAN_OUR_VISIBILITY_TIMEOUT,
        message="the neighbour's tasks have ended",
    )
    assert (client.get("neighbour:starts:long"), client.get("neighbour:starts:delayed")) == ("1", "1")
    assert publisher.submit(make_intent()).outcome().state is State.SUBMITTED


@pytest.mark.slow
def test_a_neighbour_with_a_short_visibility_timeout_leaves_our_messages_alone(
    cluster: Cluster, publisher: TransferPublisher, spawn: ProcessSpawner
) -> None:
    cluster.start_worker()
    start_neighbour(cluster, spawn, visibility_seconds=1)
    intent = make_intent()
    cluster.sandbox.controls.script(intent.call_id, ["slow:4"])
    handle = publisher.submit(intent)
    client = cluster.ledger().client
    wait_until(lambda: client.hexists(Keys().unacked, handle.transfer_id), message="our message is entered")

    assert handle.outcome().state is State.SUBMITTED
    assert cluster.sandbox.post_count(intent.call_id) == 1
    assert cluster.audit_events(handle.transfer_id).count("transfer.claimed") == 1


def test_neither_obeys_nor_sees_the_others_remote_control(
    cluster: Cluster, publisher: TransferPublisher, spawn: ProcessSpawner
) -> None:
    cluster.start_worker()
    start_neighbour(cluster, spawn)

    assert "neighbour@test" in run_celery(cluster, spawn, "support.neighbour_app", "inspect", "ping")
    assert "w1@test" not in run_celery(cluster, spawn, "support.neighbour_app", "inspect", "ping")
    seen_by_us = run_celery(cluster, spawn, "transfer_worker", "inspect", "ping")
    assert "w1@test" in seen_by_us
    assert "neighbour@test" not in seen_by_us

    run_celery(cluster, spawn, "support.neighbour_app", "control", "cancel_consumer", "transfers")
    assert publisher.submit(make_intent()).outcome().state is State.SUBMITTED


def test_doctor_names_the_neighbours_and_what_of_ours_lies_among_theirs(
    cluster: Cluster, ask: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.worker_environment().items():
        monkeypatch.setenv(name, value)
    client = cluster.ledger().client
    assert find_seen(ask) == ("ok", "none here")
    client.sadd("_kombu.binding.emails", "emails\x06\x16\x06\x16emails")
    assert find_seen(ask) == ("ok", "other Celery applications use this database: emails")

    theirs = json.dumps([{"headers": {"task": "emails.send", "id": "1"}}, "", "emails"])
    client.hset(
        "unacked", mapping={"a": theirs, "b": "not JSON", "c": json.dumps([ours(cluster), "", "transfers"])}
    )
    verdict, seen = find_seen(ask)
    assert (verdict, seen.startswith("1 messages of ours")) == ("warning", True)


@pytest.mark.parametrize(
    ("expires", "state", "posts"),
    [
        (60, State.SUBMITTED, 1),
        # How long it has lain there nobody knows, and by itself it does not say until when it may be sent.
        (None, State.REJECTED, 0),
    ],
)
def test_what_lies_among_theirs_is_adopted_once_and_ends_in_one_outcome(
    cluster: Cluster, ask: Callable[..., Result], expires: int | None, state: State, posts: int
) -> None:
    client = cluster.ledger().client
    seen_empty = cluster.start_worker()
    seen_empty.send_signal(signal.SIGTERM)
    seen_empty.wait()
    message = ours(cluster, expires=expires)
    client.hset("unacked", mapping={"theirs": "[]", "tag": json.dumps([message, "", "transfers"])})
    client.zadd("unacked_index", {"theirs": 1, "tag": 1})

    assert json.loads(ask("quarantine", "adopt", "--reason", "moved", "--json").stdout) == {"adopted": 1}
    assert ask("quarantine", "adopt").stdout == "0 adopted.\n"
    assert (client.hkeys("unacked"), client.zrange("unacked_index", 0, -1)) == (["theirs"], ["theirs"])

    cluster.start_worker()
    transfer_id = message["headers"]["id"]
    record = wait_until(lambda: is_ended(cluster.ledger().read(transfer_id)), 10)
    assert record.state is state
    assert cluster.sandbox.post_count(record.call_id) == posts
    assert "quarantine.adopted" in cluster.audit_events(transfer_id)


def find_seen(ask: Callable[..., Result]) -> tuple[str, str]:
    findings = json.loads(ask("doctor", "--json").stdout)["findings"]
    return next((found["verdict"], found["seen"]) for found in findings if found["check"] == "neighbours")


def ours(cluster: Cluster, *, expires: int | None = None) -> Any:
    """Return a message that a plain Celery producer sent."""
    with Celery("producer", broker=cluster.redis_url) as producer:
        asked = {"call_id": str(uuid.uuid4()), "destination": OK_NUMBER}
        producer.send_task(
            "transfer_tasks.transfer_call", kwargs={"intent": asked}, queue="scratch", expires=expires
        )
    return json.loads(cluster.ledger().client.rpop("scratch"))


def is_ended(record: TransferRecord | None) -> TransferRecord | None:
    return record if record and not record.state.is_open else None
