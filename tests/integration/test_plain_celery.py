"""Producers that only have Celery, by a real one: each message ends in a record, an audit line, an end."""

from __future__ import annotations

import base64
import json
import re
import signal
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, chord, signature

from support import keys_without_ttl, wait_until
from support.cluster import Cluster, make_intent
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import TASK_NAME
from transfer_worker.audit.outbox import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import SpawnedProcess
    from transfer_tasks.ledger.record import TransferRecord

OTHER_QUEUE = "somebody_elses"


class Producer:
    """A real Celery application, and what it asks for."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.app = Celery("producer", broker=cluster.redis_url, set_as_current=False)
        self.app.conf.update(task_default_queue="transfers")
        # Ours must be reached by its own names.
        self.app.conf.update(control_exchange="transfer.control")
        self.ledger = cluster.ledger()

    def signature(self, **intent: Any) -> Any:
        """Return the task with an intent for a new call."""
        asked = {"call_id": str(uuid.uuid4()), "destination": "+12025550143", **intent}
        return signature(TASK_NAME, kwargs={"intent": asked}, app=self.app)

    def send(
        self, *, task_id: str | None = None, intent: dict[str, Any] | None = None, **options: Any
    ) -> str:
        task_id = task_id or str(uuid.uuid4())
        self.signature(**intent or {}).apply_async(task_id=task_id, **options)
        return task_id

    def push(self, task_id: str, **headers: Any) -> None:
        """Put a message on the queue with headers that Celery's own producer would not write."""
        self.send(task_id=task_id, queue="scratch")
        (element,) = self.ledger.client.lpop("scratch", 1)
        message = json.loads(element)
        message["headers"] |= headers
        self.ledger.client.lpush("transfers", json.dumps(message))

    def wait_for(self, task_id: str) -> TransferRecord:
        def ended() -> TransferRecord | None:
            record = self.ledger.read(task_id)
            return record if record and not record.state.is_open else None

        return wait_until(ended, message=f"{task_id} ends")

    def posts(self, record: TransferRecord) -> int:
        return self.cluster.sandbox.post_count(record.call_id)


@pytest.fixture
def producer(cluster: Cluster) -> Iterator[Producer]:
    producer = Producer(cluster)
    yield producer
    assert keys_without_ttl(producer.ledger.client) == []
    producer.app.close()
    producer.ledger.client.close()


def assert_ended(producer: Producer, task_id: str, state: State, reason: Reason) -> TransferRecord:
    record = producer.wait_for(task_id)
    assert (record.state, record.reason) == (state, reason), record.detail
    assert producer.cluster.audit_events(task_id)[-1] == "transfer.finished"
    return record


def test_deadlines_that_passed_before_a_worker_came_are_told_and_nothing_is_sent(producer: Producer) -> None:
    first = producer.cluster.start_worker()  # somebody has to have seen the queue empty
    wait_until(lambda: producer.ledger.client.hget(producer.ledger.keys.sweep, "empty_ms"))
    first.send_signal(signal.SIGTERM)
    first.wait()
    by_celery = producer.send(expires=1)
    by_seconds = producer.send(intent={"expires_in_seconds": 1})
    late = datetime.now(UTC) + timedelta(seconds=60)
    in_time = producer.send(expires=late)
    sent_at_ms = redis_ms(producer)
    wait_until(lambda: redis_ms(producer) - sent_at_ms > 1500)

    producer.cluster.start_worker()

    for task_id in (by_celery, by_seconds):
        record = assert_ended(producer, task_id, State.EXPIRED, Reason.DEADLINE_PASSED)
        assert producer.posts(record) == 0
    assert assert_ended(producer, in_time, State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM).expires_at_ms == (
        round(late.timestamp() * 1000)
    )


def redis_ms(producer: Producer) -> int:
    seconds, micros = producer.ledger.client.time()
    return int(seconds * 1000 + micros // 1000)


def test_the_clock_does_not_start_when_a_worker_reads_it(producer: Producer) -> None:
    """Nothing was ever seen of this queue: what lies there may be of any age."""
    task_id = producer.send(intent={"expires_in_seconds": 300})
    producer.cluster.start_worker()
    record = assert_ended(producer, task_id, State.REJECTED, Reason.DEADLINE_UNKNOWN)
    assert producer.posts(record) == 0


def test_a_publishers_message_before_it_bounds_its_age(producer: Producer) -> None:
    with producer.cluster.publisher() as publisher:
        publisher.submit(make_intent(expires_in_seconds=60))
        task_id = producer.send(intent={"expires_in_seconds": 300})
        # One thread: what is taken together is taken in order.
        producer.cluster.start_worker(concurrency=1)
        record = assert_ended(producer, task_id, State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    assert record.accepted_at_ms < record.expires_at_ms <= record.accepted_at_ms + 300_000


@pytest.fixture
def worker(producer: Producer) -> SpawnedProcess:
    worker = producer.cluster.start_worker()
    wait_until(lambda: producer.ledger.client.hget(producer.ledger.keys.sweep, "empty_ms"))
    return worker


def test_a_worker_that_waits_carries_out_a_plain_message_with_seconds(
    producer: Producer, worker: SpawnedProcess
) -> None:
    for options in ({}, {"compression": "gzip"}, {"compression": "zlib"}, {"countdown": 0.5}):
        record = assert_ended(
            producer, producer.send(**options), State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM
        )
        assert producer.posts(record) == 1
    wait_until(lambda: producer.ledger.client.hlen(producer.ledger.keys.unacked) == 0)
    assert worker.is_running()


def test_headers_that_celery_would_choke_on_have_an_outcome(
    producer: Producer, worker: SpawnedProcess
) -> None:
    for headers, reason in (
        ({"eta": "garbage"}, Reason.INVALID_INTENT),
        ({"eta": 12345}, Reason.INVALID_INTENT),
        ({"expires": "garbage"}, Reason.INVALID_INTENT),
        ({"expires": 12345}, Reason.INVALID_INTENT),
        ({"eta": "2099-01-01T00:00:00+00:00"}, Reason.ETA_NOT_SUPPORTED),
        ({"timelimit": "x", "retries": "x", "group": "g"}, Reason.CANVAS_NOT_SUPPORTED),
    ):
        task_id = str(uuid.uuid4())
        producer.push(task_id, **headers)
        assert_ended(producer, task_id, State.REJECTED, reason)
    assert "12025550143" not in worker.output()
    assert worker.is_running()


def test_canvas_is_refused_and_nothing_is_published_to_others(
    producer: Producer, worker: SpawnedProcess
) -> None:
    other = signature("other.task", app=producer.app).set(queue=OTHER_QUEUE)
    sent = [
        (producer.signature() | other).apply_async(task_id=str(uuid.uuid4())).parent.id,
        producer.send(link=other),
        producer.send(link_error=other),
    ]
    headed = chord([producer.signature().set(task_id=str(uuid.uuid4()))], other, app=producer.app)
    (first,) = headed.tasks
    producer.app.backend.apply_chord = lambda *_, **__: None  # no result backend here
    sent.append(first.options["task_id"])
    first.clone().apply_async(chord=other, group_id=str(uuid.uuid4()))

    for task_id in sent:
        assert_ended(producer, task_id, State.REJECTED, Reason.CANVAS_NOT_SUPPORTED)
    assert not producer.ledger.client.exists(OTHER_QUEUE)


def test_an_id_that_an_operator_has_revoked_ends_cancelled(producer: Producer) -> None:
    worker = producer.cluster.start_worker(TRANSFER_REMOTE_CONTROL="operator")
    wait_until(lambda: producer.ledger.client.hget(producer.ledger.keys.sweep, "empty_ms"))
    task_id, published = str(uuid.uuid4()), make_intent()
    producer.app.control.revoke([task_id, published.transfer_id], reply=True, timeout=10)
    wait_until(lambda: published.transfer_id in worker.output(), message="the worker knows of it")

    record = assert_ended(
        producer, producer.send(task_id=task_id), State.CANCELLED, Reason.CANCELLED_BY_OPERATOR
    )
    assert producer.posts(record) == 0
    with producer.cluster.publisher() as publisher:
        outcome = publisher.submit(published).outcome()
    assert (outcome.state, outcome.reason) == (State.CANCELLED, Reason.CANCELLED_BY_OPERATOR)
    assert producer.cluster.sandbox.post_count(published.call_id) == 0


def test_a_priority_is_served_from_the_one_list(producer: Producer, worker: SpawnedProcess) -> None:
    for priority in (3, 5, 9):
        task_id = producer.send(priority=priority)
        # kombu's default steps write to 3, 6 and 9; another producer's to any.
        assert_ended(producer, task_id, State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    (element,) = [json.dumps({"headers": {"id": "x"}})]
    producer.ledger.client.lpush("transfers\x06\x165", element)
    wait_until(lambda: producer.ledger.client.llen(producer.ledger.keys.quarantine) == 1)
    assert producer.ledger.client.keys("transfers\x06*") == []


def test_what_has_no_usable_id_is_kept_and_its_number_stands_nowhere(
    producer: Producer, worker: SpawnedProcess, ask: Any
) -> None:
    for task_id in ("order 42", "12025550188", "\ud800"):
        producer.push(str(uuid.uuid4()), id=task_id)
    wait_until(lambda: producer.ledger.client.llen(producer.ledger.keys.quarantine) == 3)

    for command in (["list"], ["quarantine", "list"], ["status"]):
        assert ask(*command).exit_code == 0
    assert not re.search(r"2025550[0-9]{3}", worker.output())
    kept = producer.ledger.client.lrange(producer.ledger.keys.quarantine, 0, -1)
    assert [json.loads(entry)["why"] for entry in kept] == ["the task id is not a UUID"] * 3
    assert "order 42" in kept[-1]


def test_the_same_task_id_with_other_content_is_not_told_the_firsts_outcome(
    producer: Producer, worker: SpawnedProcess
) -> None:
    first = assert_ended(producer, producer.send(), State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    other_call = str(uuid.uuid4())
    events = producer.ledger.client.pubsub(ignore_subscribe_messages=True)
    events.psubscribe("*transfer.events*")
    producer.send(task_id=first.transfer_id, intent={"call_id": other_call})

    def refusals() -> list[Any]:
        entries: Any = producer.ledger.client.xrange(producer.ledger.keys.audit)
        lines = [line for entry_id, fields in entries for line in read_lines(entry_id, fields)]
        return [line for line in lines if line["event"] == "transfer.refused"]

    (line,) = wait_until(refusals)
    assert (line["call_id"], line["verdict"]) == (other_call, "conflict")
    wait_until(lambda: "TransferRejected(idempotency_conflict" in read_events(events.get_message()))
    events.close()
    assert producer.ledger.read(first.transfer_id) == first
    assert producer.cluster.sandbox.post_count(other_call) == 0


def read_events(message: Any) -> str:
    """Return what Flower is told, as text."""
    return base64.b64decode(json.loads(message["data"])["body"]).decode() if message else ""


def test_a_message_that_its_worker_took_along_keeps_its_deadline(producer: Producer) -> None:
    """Killed while it waits for an ETA: the next worker finds what the first one knew."""
    worker = producer.cluster.start_worker()

    def seen_empty() -> Any:
        return producer.ledger.client.hget(producer.ledger.keys.sweep, "empty_ms")

    first = wait_until(seen_empty)
    wait_until(lambda: seen_empty() != first)  # a look after the first: so the worker has that one's reply
    eta = datetime.now(UTC) + timedelta(seconds=4)
    task_id = producer.send(intent={"expires_in_seconds": 2}, eta=eta)
    known = wait_until(lambda: producer.ledger.client.get(producer.ledger.keys.sight(task_id)))
    worker.send_signal(signal.SIGKILL)

    producer.cluster.start_worker()

    record = assert_ended(producer, task_id, State.EXPIRED, Reason.DEADLINE_PASSED)
    assert record.expires_at_ms == int(known) + 2000
    assert producer.posts(record) == 0
