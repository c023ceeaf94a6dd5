"""Poison on the queue: nothing ends the worker, loops, or holds up the next good intent."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from support import ProcessSpawner, wait_until
from support.cluster import Cluster, make_intent
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import build_message
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferPublisher

QUEUE = "transfers"


@pytest.fixture(scope="module")
def poisoned_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, SpawnedProcess]]:
    """One cluster for all poison: the worker that ate the last one must stomach the next."""
    spawn = ProcessSpawner(tmp_path_factory.mktemp("poison"))
    with EmbeddedRedis() as server, SandboxServer() as sandbox:
        cluster = Cluster(redis_url=server.url, sandbox=sandbox, spawn=spawn)
        yield cluster, cluster.start_worker()
        spawn.end_all()


def message(task_id: str, **changes: Any) -> dict[str, Any]:
    """Return our own message as an object, with parts replaced; None takes a part away."""
    whole: dict[str, Any] = json.loads(
        build_message(transfer_id=task_id, call_id=str(uuid.uuid4()), labels={}, queue=QUEUE)
    )
    for path, value in changes.items():
        *parents, name = path.split("__")
        part = whole
        for parent in parents:
            part = part[parent]
        if value is None:
            del part[name]
        else:
            part[name] = value
    return whole


def encode(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


TASK_ID = "7d4f0f6e-6a3e-4d0a-9d43-0f1f6c8e2b11"

WITHOUT_ID = {
    "not JSON": b"not json",
    "bytes that are no text": b"\xff\xfe\x00",
    "an empty element": b"",
    "a JSON list": b"[]",
    "an empty object": b"{}",
    "1 MB of junk": b"x" * 1_000_000,
    "deep nesting": b"[" * 100_000,
    "headers that are no object": json.dumps(message(TASK_ID, headers=[])).encode(),
    "a task id that is not text": json.dumps(message(TASK_ID, headers__id=5)).encode(),
}
WITH_ID = {
    "an undecodable body": json.dumps(message(TASK_ID, body="!!!")).encode(),
    "a body that is not protocol 2": json.dumps(message(TASK_ID, body=encode({"args": []}))).encode(),
    "kwargs that are no object": json.dumps(message(TASK_ID, body=encode([[], [], {}]))).encode(),
    "an unknown argument": json.dumps(message(TASK_ID, body=encode([[], {"intend": {}}, {}]))).encode(),
    "two intents": json.dumps(message(TASK_ID, body=encode([[{}], {"intent": {}}, {}]))).encode(),
    "a missing delivery tag": json.dumps(message(TASK_ID, properties__delivery_tag=None)).encode(),
    "missing properties": json.dumps(message(TASK_ID, properties=None)).encode(),
    "missing delivery info": json.dumps(message(TASK_ID, properties__delivery_info=None)).encode(),
    "an unknown task name": json.dumps(message(TASK_ID, headers__task="other.task")).encode(),
    "a pickled body": json.dumps(
        message(TASK_ID, **{"content-type": "application/x-python-serialize"})
    ).encode(),
}


@pytest.mark.parametrize("poison", [pytest.param(value, id=name) for name, value in WITHOUT_ID.items()])
def test_poison_without_an_id_is_quarantined(
    poisoned_cluster: tuple[Cluster, SpawnedProcess], poison: bytes
) -> None:
    assert_survived(*poisoned_cluster, poison)


@pytest.mark.parametrize("poison", [pytest.param(value, id=name) for name, value in WITH_ID.items()])
def test_poison_with_an_id_is_quarantined_and_gets_an_outcome(
    poisoned_cluster: tuple[Cluster, SpawnedProcess], poison: bytes
) -> None:
    cluster, worker = poisoned_cluster
    cluster.ledger().client.delete(cluster.ledger().keys.record(TASK_ID), cluster.ledger().keys.audit)

    assert_survived(cluster, worker, poison)

    record = cluster.ledger().read(TASK_ID)
    assert record is not None
    assert (record.state, record.reason) == (State.REJECTED, Reason.INVALID_INTENT)
    assert cluster.audit_events(TASK_ID) == ["message.quarantined", "transfer.finished"]


@pytest.mark.parametrize(
    "changes",
    [
        {"properties__delivery_tag": 7},
        {"content-encoding": "UTF-8"},
        {"content-encoding": "utf8"},
    ],
    ids=str,
)
def test_what_another_producer_writes_differently_is_served(
    poisoned_cluster: tuple[Cluster, SpawnedProcess], changes: dict[str, Any]
) -> None:
    cluster, worker = poisoned_cluster
    client = cluster.ledger().client
    client.delete("transfer:quarantine")
    with cluster.publisher() as publisher:
        for whole in ({}, {"body": encode([[], {"intent": make_intent().model_dump(mode="json")}, {}])}):
            handle = publisher.submit(make_intent())
            task_id = str(uuid.uuid4()) if whole else handle.transfer_id
            client.lpush(QUEUE, json.dumps(message(task_id, **changes, **whole)))
            wait_until(lambda of=task_id: "transfer.finished" in cluster.audit_events(of), 10)
    assert worker.is_running()
    assert client.llen("transfer:quarantine") == 0
    wait_until(lambda: client.hlen("transfer:unacked") == 0, message="all is acknowledged")


def assert_survived(cluster: Cluster, worker: SpawnedProcess, poison: bytes) -> None:
    client = cluster.ledger().client
    client.delete("transfer:quarantine")
    client.lpush(QUEUE, poison)

    with cluster.publisher() as publisher:
        outcome = publisher.submit(make_intent()).outcome()

    assert outcome.state is State.SUBMITTED
    assert worker.is_running()
    kept = [json.loads(entry) for entry in client.lrange("transfer:quarantine", 0, -1)]
    assert [entry["size_bytes"] for entry in kept] == [len(poison)]
    assert kept[0]["why"]
    assert client.ttl("transfer:quarantine") > 0
    assert client.llen(QUEUE) == 0
    wait_until(lambda: client.hlen("transfer:unacked") == 0, message="the good message is acknowledged")


def test_a_broken_notification_of_a_good_transfer_is_sent_anew(
    cluster: Cluster, publisher: TransferPublisher
) -> None:
    client = cluster.ledger().client
    handle = publisher.submit(make_intent(expires_in_seconds=30))
    client.delete(QUEUE)
    client.lpush(QUEUE, json.dumps(message(handle.transfer_id, properties__delivery_tag=None)))

    cluster.start_worker()

    assert handle.outcome().state is State.SUBMITTED
    assert "transfer.requeued" in cluster.audit_events(handle.transfer_id)


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (
            {"call_id": str(uuid.uuid4()), "destination": "support", "schema_version": 2},
            Reason.UNSUPPORTED_SCHEMA_VERSION,
        ),
        ({"call_id": "not a uuid", "destination": "support"}, Reason.INVALID_INTENT),
        ({}, Reason.INVALID_INTENT),
    ],
)
def test_an_intent_that_this_version_cannot_read_is_rejected(
    cluster: Cluster, intent: dict[str, Any], reason: Reason
) -> None:
    cluster.start_worker()
    client = cluster.ledger().client
    client.lpush(QUEUE, json.dumps(message(TASK_ID, body=encode([[], {"intent": intent}, {}]))))

    record = wait_until(lambda: cluster.ledger().read(TASK_ID), message="an outcome")

    assert (record.state, record.reason) == (State.REJECTED, reason)


def test_flushed_scripts_are_loaded_again(cluster: Cluster, publisher: TransferPublisher) -> None:
    cluster.start_worker()
    assert publisher.submit(make_intent()).outcome().state is State.SUBMITTED

    cluster.ledger().client.script_flush()

    assert publisher.submit(make_intent()).outcome().state is State.SUBMITTED


def test_a_message_for_a_record_that_redis_lost_ends_unknown(cluster: Cluster) -> None:
    cluster.start_worker()
    lost = message(TASK_ID)
    lost["headers"]["intent"] = make_intent(transfer_id=TASK_ID).to_json()
    cluster.ledger().client.lpush(QUEUE, json.dumps(lost))

    record = wait_until(lambda: cluster.ledger().read(TASK_ID), message="an outcome")

    assert (record.state, record.reason) == (State.UNKNOWN, Reason.RECORD_MISSING)
    assert cluster.sandbox.requests() == []
