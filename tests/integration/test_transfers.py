"""Transfers through the whole system: a real Redis, a real worker process, the sandbox as the judge of POSTs.

One cluster serves the whole module, so that its last tests can look at all that a run has left behind: every
line of the log, every key.
"""

from __future__ import annotations

import json
import re
import signal
import time
import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from celery import Celery

from support import ProcessSpawner, keys_without_ttl, wait_until
from support.cluster import Cluster, make_intent
from transfer_tasks.errors import TransferInProgress
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.publisher.message import TASK_NAME
from transfer_tasks.settings import PublisherSettings
from transfer_worker.audit.outbox import AuditEvent
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import SpawnedProcess
    from transfer_tasks.publisher import TransferHandle

TOKEN = "token-that-nobody-may-see"
AGENT_ID = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"
REGISTRY = """
[support]
description = "Technical support"
endpoints = ["+1 202-555-0145", "+1 202-555-0146"]
caller_id = "+1 202-555-0107"
ring_timeout_sec = 20
strategy = "sequential"
"""
PHONE = {"type": "pstn", "number": "12025550100"}


@dataclass
class Running:
    """A cluster with a worker in it, and everything that its worker and audit log have said."""

    cluster: Cluster
    worker: SpawnedProcess
    publisher: TransferPublisher
    audit_path: Path
    handles: dict[str, TransferHandle] = field(default_factory=dict)
    other_workers: list[SpawnedProcess] = field(default_factory=list)

    @property
    def sandbox(self) -> SandboxServer:
        return self.cluster.sandbox

    def send(self, destination: Any, **fields: Any) -> tuple[TransferOutcome, list[dict[str, Any]]]:
        """Submit, wait for the outcome, and return it with the POSTs that the sandbox saw."""
        intent = make_intent(destination, **fields)
        outcome = self.publisher.submit(intent).outcome()
        return outcome, self.sandbox.requests(intent.call_id)

    def record(self, transfer_id: str) -> Any:
        ledger = self.cluster.ledger()
        with ledger.client:
            return ledger.read(transfer_id)

    def output(self) -> str:
        """Return what all workers of this run have written."""
        return "".join(worker.output() for worker in (self.worker, *self.other_workers))

    def audit_file(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_path.read_text("utf-8").splitlines()]

    def audit_of(self, transfer_id: str) -> list[dict[str, Any]]:
        """Return a transfer's lines in the audit file, once its ending is among them."""
        lines: list[dict[str, Any]] = []

        def is_finished() -> bool:
            lines[:] = [line for line in self.audit_file() if line["transfer_id"] == transfer_id]
            return any(line["event"] == "transfer.finished" for line in lines)

        wait_until(is_finished, message=f"the ending of {transfer_id} in the audit file")
        return lines

    def celery(self) -> Celery:
        """A producer that has only Celery."""
        app = Celery("any producer", broker=self.cluster.redis_url, set_as_current=False)
        app.conf.update(task_default_queue="transfers", broker_connection_retry_on_startup=True)
        return app

    def send_task(self, intent: Any, *, name: str = TASK_NAME, **options: Any) -> str:
        """Publish with plain Celery; return the task's id."""
        app = self.celery()
        try:
            sent = app.send_task(name, kwargs={"intent": intent}, ignore_result=True, **options)
            return str(sent.id)
        finally:
            app.close()

    def wait_for_record(self, transfer_id: str) -> Any:
        """Return the record once it has ended."""
        return wait_until(
            lambda: (record := self.record(transfer_id)) and record.outcome and record,
            message=f"the ending of {transfer_id}",
        )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("transfers")
    (directory / "destinations.toml").write_text(REGISTRY)
    (directory / "processes").mkdir()
    spawner = ProcessSpawner(directory / "processes")
    with EmbeddedRedis() as redis_server, SandboxServer(token=TOKEN) as sandbox:
        cluster = Cluster(
            redis_url=redis_server.url,
            sandbox=sandbox,
            spawn=spawner,
            environment={
                "TRANSFER_DESTINATIONS_FILE": str(directory / "destinations.toml"),
                "TRANSFER_AUDIT_FILE": str(directory / "audit.jsonl"),
                "TRANSFER_ATTEMPT_TIMEOUT_SECONDS": "1",
            },
        )
        try:
            worker = cluster.start_worker(concurrency=16)
            with cluster.publisher() as publisher:
                yield Running(cluster, worker, publisher, directory / "audit.jsonl")
        finally:
            spawner.end_all()


# --- what people paste


@pytest.mark.parametrize(
    ("destination", "pipeline"),
    [
        (
            "+1 (202) 555-0100",
            [{"action": "connect", "params": {"caller_id": "12025550199"}, "endpoints": [PHONE]}],
        ),
        (
            "sip:front-desk@sip.example.com",
            [
                {
                    "action": "connect",
                    "params": {"caller_id": "12025550199"},
                    "endpoints": [{"type": "sip", "uri": "sip:front-desk@sip.example.com"}],
                }
            ],
        ),
        (
            f"agent:{AGENT_ID}",
            [
                {
                    "action": "connect",
                    "params": {"caller_id": "12025550199"},
                    "endpoints": [{"type": "agent", "id": AGENT_ID}],
                }
            ],
        ),
        (
            [
                {"action": "play", "file_name": "hold.wav"},
                {
                    "action": "connect",
                    "params": {"from": "+1 (202) 555-0108"},
                    "endpoints": [{"type": "pstn", "number": "+12025550100"}],
                },
            ],
            [
                {"action": "play", "file_name": "hold.wav"},
                {"action": "connect", "params": {"caller_id": "12025550108"}, "endpoints": [PHONE]},
            ],
        ),
        (
            "support",
            [
                {
                    "action": "connect",
                    "params": {
                        "caller_id": "12025550107",
                        "strategy": "sequential",
                        "options": {"ring_timeout_sec": 20},
                    },
                    "endpoints": [
                        {"type": "pstn", "number": "12025550145"},
                        {"type": "pstn", "number": "12025550146"},
                    ],
                }
            ],
        ),
    ],
    ids=["phone", "sip", "agent", "pipeline", "name"],
)
def test_every_kind_of_destination_is_one_request_that_the_vendors_validator_takes(
    running, destination, pipeline
):
    outcome, posts = running.send(destination)
    assert (outcome.state, outcome.reason) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    (post,) = posts
    assert (post["pipeline"], post["authorized"], post["status"]) == (pipeline, True, 200)


def test_the_key_reaches_the_platform_and_its_whole_answer_is_on_record(running):
    intent = make_intent(idempotency_key="order/1")
    handle = running.publisher.submit(intent)
    outcome = handle.outcome()
    (post,) = running.sandbox.requests(intent.call_id)
    assert post["idempotency_key"] == handle.idempotency_key == "order/1"
    record = running.record(outcome.transfer_id)
    (note,) = record.attempt_notes
    assert json.loads(note["answer"]) == {"message": "queued"}
    assert note["attempt_ms"] >= 0
    assert record.outcome == outcome


# --- how the platform answers


ENDINGS = {
    "12025550100": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 1),
    "12025550101": (State.UNKNOWN, Reason.ANSWER_LOST, 1),  # slower than an attempt may take
    "12025550102": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 1),
    "12025550103": (State.REJECTED, Reason.UNAUTHORIZED, 1),
    "12025550104": (State.REJECTED, Reason.CALL_NOT_FOUND, 1),
    "12025550105": (State.REJECTED, Reason.CALL_NOT_FOUND, 1),
    "12025550109": (State.REJECTED, Reason.TRANSFER_IN_PROGRESS, 1),
    "12025550110": (State.REJECTED, Reason.REFUSED_BY_PLATFORM, 1),
    "12025550111": (State.REJECTED, Reason.UNAUTHORIZED, 1),
    "12025550122": (State.REJECTED, Reason.REFUSED_BY_PLATFORM, 1),
    "12025550128": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 2),
    "12025550129": (State.FAILED, Reason.RATE_LIMITED, 3),
    "12025550150": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550152": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550153": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 2),
    "12025550154": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550155": (State.FAILED, Reason.PLATFORM_UNAVAILABLE, 5),
    "12025550156": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 2),
    "12025550157": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550158": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550160": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550161": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550162": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550163": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550164": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550165": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550166": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550170": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550171": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550172": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550173": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550174": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550175": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
}
# Three requests a second apart: the fourth would come after the deadline.
EXPIRES = {"12025550129": 2.8}


@pytest.fixture(scope="module")
def asked(running: Running) -> dict[str, TransferHandle]:
    """All the magic numbers, asked for at once."""
    for number in ENDINGS:
        intent = make_intent(f"+{number}", expires_in_seconds=EXPIRES.get(number, 20))
        running.handles[number] = running.publisher.submit(intent)
    return running.handles


@pytest.mark.parametrize("number", ENDINGS)
def test_each_answer_of_the_platform_has_its_outcome_and_its_number_of_requests(running, asked, number):
    state, reason, post_count = ENDINGS[number]
    outcome = asked[number].outcome()
    assert (outcome.state, outcome.reason, outcome.attempts) == (state, reason, post_count)
    posts = running.sandbox.requests(outcome.call_id)
    assert len(posts) == post_count
    if posts[-1]["status"] is not None and reason is not Reason.ANSWER_LOST:
        assert outcome.http_status == posts[-1]["status"]
    carried_out = sum(post["carried_out"] for post in posts)
    assert carried_out <= 1
    if state is not State.UNKNOWN:
        assert carried_out == (state is State.SUBMITTED)


def test_a_409_after_a_request_that_was_sent_is_unknown_with_the_running_request_on_record(running):
    intent = make_intent()
    running.sandbox.controls.script(intent.call_id, ["503", "409"])
    outcome = running.publisher.submit(intent).outcome()
    assert (outcome.state, outcome.reason) == (State.UNKNOWN, Reason.IN_PROGRESS_AFTER_ATTEMPT)
    assert (outcome.attempts, outcome.http_status) == (2, 409)
    last = running.record(outcome.transfer_id).attempt_notes[-1]
    assert json.loads(last["answer"])["request_id"] == "sandbox-409"
    assert "sandbox-409" in outcome.detail


@pytest.mark.parametrize("number", ["12025550128", "12025550156", "12025550129"])
def test_retry_after_is_obeyed(running, asked, number):
    outcome = asked[number].outcome()
    times = [post["received_at_ms"] for post in running.sandbox.requests(outcome.call_id)]
    assert len(times) > 1
    assert all(later - earlier >= 1000 for earlier, later in pairwise(times))


def test_without_retry_after_the_first_wait_is_at_most_200_ms(running, asked):
    outcome = asked["12025550153"].outcome()
    first, second = (post["received_at_ms"] for post in running.sandbox.requests(outcome.call_id))
    assert second - first < 200 + 150


# --- the rules, again at the worker


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("nowhere", Reason.UNKNOWN_DESTINATION),
        ("+44 20 7946 0018", Reason.DESTINATION_NOT_ALLOWED),
        ("sip:x@elsewhere.example.com", Reason.DESTINATION_NOT_ALLOWED),
    ],
)
def test_what_the_rules_forbid_never_reaches_the_platform(running, destination, reason):
    outcome, posts = running.send(destination)
    assert (outcome.state, outcome.reason, outcome.attempts, posts) == (State.REJECTED, reason, 0, [])


# --- repeats, cancels, deadlines


def test_asking_again_moves_the_call_once(running):
    intent = make_intent()
    handles = [running.publisher.submit(make_intent(call_id=intent.call_id)) for _ in range(5)]
    outcomes = {handle.outcome() for handle in handles}
    handles.append(running.publisher.submit(make_intent(call_id=intent.call_id)))
    assert len(outcomes) == 1
    assert [handle.is_repeat for handle in handles] == [False] + [True] * 5
    assert running.sandbox.post_count(intent.call_id) == 1


def test_the_same_message_twice_moves_the_call_once(running):
    intent = make_intent()
    asked_for = {"call_id": intent.call_id, "destination": "+12025550100"}
    transfer_ids = {running.send_task(asked_for, task_id=intent.transfer_id) for _ in range(5)}
    assert transfer_ids == {intent.transfer_id}
    assert running.wait_for_record(intent.transfer_id).state is State.SUBMITTED
    wait_until(lambda: running.cluster.ledger().client.hlen("transfer:unacked") == 0)
    assert running.sandbox.post_count(intent.call_id) == 1


def test_a_second_hop_is_another_request_with_another_key(running):
    call_id = str(uuid.uuid4())
    first, _ = running.send("+12025550100", call_id=call_id)
    second, posts = running.send("support", call_id=call_id)
    assert (first.hop, second.hop) == (1, 2)
    assert [post["idempotency_key"] for post in posts] == [f"{call_id}:1", f"{call_id}:2"]


def test_cancelled_while_it_waits_for_the_next_attempt_nothing_more_is_sent(running):
    intent = make_intent("+12025550129")
    handle = running.publisher.submit(intent)
    wait_until(lambda: running.sandbox.post_count(intent.call_id) == 1)
    wait_until(lambda: running.record(handle.transfer_id).state is State.CLAIMED)
    assert handle.cancel()
    assert handle.outcome().state is State.CANCELLED
    finished = [line["event"] for line in running.audit_of(handle.transfer_id)]
    assert finished.count("transfer.finished") == 1
    time.sleep(1.2)  # the wait that the platform asked for, in which the cancelled attempt would have come
    assert running.sandbox.post_count(intent.call_id) == 1


def test_what_is_cancelled_or_late_before_a_worker_is_there_is_never_sent(running):
    """On a queue of its own, whose worker comes when all is over."""
    settings = PublisherSettings(redis_url=running.cluster.redis_url, queue="later")
    with TransferPublisher(settings) as publisher:
        cancelled, late = make_intent(), make_intent(expires_in_seconds=1)
        first, second = publisher.submit(cancelled), publisher.submit(late)
        assert first.cancel()
        assert second.outcome().state is State.EXPIRED
        good = publisher.submit(make_intent())
        late_worker = running.cluster.start_worker(TRANSFER_QUEUE="later")
        running.other_workers.append(late_worker)
        assert good.outcome().state is State.SUBMITTED
        late_worker.send_signal(signal.SIGTERM)
        late_worker.wait()
    assert running.sandbox.post_count(cancelled.call_id) == running.sandbox.post_count(late.call_id) == 0


# --- plain Celery


def test_an_intent_from_plain_celery_is_carried_out_under_its_tasks_id(running):
    call_id = str(uuid.uuid4())
    transfer_id = running.send_task({"call_id": call_id.upper(), "destination": "support"})
    record = running.wait_for_record(transfer_id)
    assert (record.state, record.call_id) == (State.SUBMITTED, call_id)
    assert running.sandbox.post_count(call_id) == 1
    assert [line["event"] for line in running.audit_of(transfer_id)] == [
        "transfer.accepted",
        "transfer.claimed",
        "transfer.attempt_started",
        "transfer.finished",
    ]


def test_a_repeat_from_plain_celery_moves_the_call_once(running):
    call_id = str(uuid.uuid4())
    first = running.send_task({"call_id": call_id, "destination": "support"})
    running.wait_for_record(first)
    second = running.send_task({"call_id": call_id, "destination": "support"})
    wait_until(
        lambda: any(
            line["event"] == "transfer.repeated" and line["refused_transfer_id"] == second
            for line in running.audit_of(first)
        )
    )
    assert running.sandbox.post_count(call_id) == 1


def test_plain_celery_is_under_the_same_rules_as_the_publisher(running):
    intent = make_intent("+12025550129")
    running.publisher.submit(intent)
    other = running.send_task({"call_id": intent.call_id, "destination": "support"})
    assert running.wait_for_record(other).reason is Reason.TRANSFER_IN_PROGRESS
    with pytest.raises(TransferInProgress):
        running.publisher.submit(make_intent("support", call_id=intent.call_id))


@pytest.mark.parametrize(
    ("asked_for", "reason"),
    [
        ({"call_id": "x", "destination": "+12025550145"}, Reason.INVALID_INTENT),
        ({"call_id": str(uuid.uuid4()), "destination": "12025550145 ext 5"}, Reason.INVALID_INTENT),
        ("+12025550145", Reason.INVALID_INTENT),
        ([1, 2], Reason.INVALID_INTENT),
        (
            {"call_id": str(uuid.uuid4()), "destination": "support", "schema_version": 2},
            Reason.UNSUPPORTED_SCHEMA_VERSION,
        ),
        ({"call_id": str(uuid.uuid4()), "destination": "+44 20 7946 0018"}, Reason.DESTINATION_NOT_ALLOWED),
    ],
)
def test_what_plain_celery_gets_wrong_has_an_outcome_too(running, asked_for, reason):
    transfer_id = running.send_task(asked_for)
    record = running.wait_for_record(transfer_id)
    assert (record.state, record.reason) == (State.REJECTED, reason)
    (line,) = [line for line in running.audit_of(transfer_id) if line["event"] == "transfer.finished"]
    assert line["reason"] == reason


def test_a_late_intent_from_plain_celery_expires_unsent(running):
    call_id = str(uuid.uuid4())
    transfer_id = running.send_task(
        {"call_id": call_id, "destination": "support", "expires_at": "2020-01-01T00:00:00Z"}
    )
    assert running.wait_for_record(transfer_id).state is State.EXPIRED
    assert running.sandbox.post_count(call_id) == 0


# --- last: what the whole run has left behind

EXAMPLE = "+1 202-555-0143"
"""Nobody's number: what a refusal's fix shows."""

LINE_FIELDS = {
    "timestamp",
    "event",
    "event_id",
    "transfer_id",
    "call_id",
    "idempotency_key",
    "hop",
    "attempt",
}
FINISHED_FIELDS = LINE_FIELDS | {"state", "reason", "source", "waited_ms"}


@pytest.fixture(scope="module")
def everything(running: Running, asked: dict[str, TransferHandle]) -> Running:
    """The run is over: troublemakers came last, every transfer has ended, every line is written."""
    number = "+1 202 555 0177"
    broken = [
        running.send_task({"number": number}, name="no.such.task"),
        running.send_task({"call_id": number, "destination": number}),
    ]
    app = running.celery()
    broken.append(app.send_task(TASK_NAME, kwargs={number: number}).id)
    app.close()
    for handle in asked.values():
        handle.outcome()
    ledger = running.cluster.ledger()
    with ledger.client as client:
        for what, remaining in (
            ("queue", lambda: client.llen("transfers")),
            ("fetched", lambda: client.hlen("transfer:unacked")),
            ("waiting", lambda: client.zcard(ledger.keys.waiting)),
            ("in flight", lambda: client.zcard(ledger.keys.in_flight)),
        ):
            wait_until(lambda look=remaining: look() == 0, message=what)
        last: Any = client.xrevrange(ledger.keys.audit, count=1)
    wait_until(
        lambda: last[0][0] in running.audit_path.read_text("utf-8"),
        message=lambda: f"{last} in the audit file",
    )
    return running


def test_there_is_exactly_one_finished_line_for_each_transfer(everything):
    ledger = everything.cluster.ledger()
    with ledger.client as client:
        transfer_ids = {key.rpartition(":")[2] for key in client.scan_iter(ledger.keys.record("*"))}
    lines = everything.audit_file()
    assert len({line["event_id"] for line in lines}) == len(lines)
    finished = [line["transfer_id"] for line in lines if line["event"] == "transfer.finished"]
    assert sorted(finished) == sorted(transfer_ids)
    assert len(finished) > len(ENDINGS)


def test_every_audit_line_has_its_fields_and_its_place(everything):
    by_transfer: dict[str, list[dict[str, Any]]] = {}
    for line in everything.audit_file():
        assert line.keys() >= LINE_FIELDS
        assert line["event"] in set(AuditEvent)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["timestamp"])
        by_transfer.setdefault(line["transfer_id"], []).append(line)
        match line["event"]:
            case "transfer.finished":
                assert line.keys() >= FINISHED_FIELDS
                assert line["waited_ms"] >= 0
                if line["attempt"] and line["source"] == "worker":
                    assert line.keys() >= {"attempt_ms", "worker"}
            case "transfer.claimed":
                assert line.keys() >= {"worker", "waited_ms"}
            case "transfer.retry_scheduled":
                assert line.keys() >= {"reason", "wait_ms", "attempt_ms", "worker", "http_status"}
            case "transfer.repeated" | "transfer.refused":
                assert line.keys() >= {"verdict", "refused_transfer_id"}
    for lines in by_transfer.values():
        events = [line["event"] for line in lines]
        starts, retries = events.count("transfer.attempt_started"), events.count("transfer.retry_scheduled")
        assert starts - retries in {0, 1}


def test_the_platform_saw_a_request_for_each_attempt_and_none_besides(everything):
    attempts: dict[str, int] = {}
    for line in everything.audit_file():
        if line["event"] == "transfer.attempt_started":
            attempts[line["call_id"]] = attempts.get(line["call_id"], 0) + 1
    seen = {call_id: everything.sandbox.post_count(call_id) for call_id in attempts}
    assert seen == attempts
    assert everything.sandbox.post_count() == sum(seen.values())


def test_no_secret_and_no_whole_number_is_in_any_line(everything):
    password = urlsplit(everything.cluster.redis_url).password
    assert password
    ledger = everything.cluster.ledger()
    with ledger.client as client:
        stream = json.dumps(client.xrange(ledger.keys.audit))
    output = everything.output()
    for name, text in (
        ("output", output),
        ("audit file", everything.audit_path.read_text("utf-8")),
        ("audit stream", stream),
    ):
        assert TOKEN not in text, name
        assert password not in text, name
        found = re.findall(r"\+?1?[ (]*202[ )-]*555[ -]*\d{4}|20 ?7946 ?0018", text)
        assert set(found) <= {EXAMPLE}, f"{name}: {found[:5]}"


def test_the_workers_own_lines_are_json_with_a_time_and_a_level(everything):
    output = everything.worker.output()
    lines = [line for line in output.splitlines() if line.startswith("{")]
    assert len(lines) > 50
    for line in lines:
        fields = json.loads(line)
        assert fields.keys() >= {"event", "timestamp", "level"}
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)$", fields["timestamp"])


def test_every_audit_line_is_in_the_log_too(everything):
    logged = set(re.findall(r'"event_id": "([\d-]+)"', everything.output()))
    assert {line["event_id"] for line in everything.audit_file()} <= logged


def test_whatever_had_an_id_has_an_outcome(everything):
    ledger = everything.cluster.ledger()
    with ledger.client as client:
        for key in client.scan_iter(ledger.keys.record("*")):
            record = ledger.read(key.rpartition(":")[2])
            assert record is not None
            assert record.outcome is not None


def test_no_key_but_the_queues_stays_for_ever(everything):
    with everything.cluster.ledger().client as client:
        assert set(keys_without_ttl(client)) <= {"later"}  # the queue of one test


def test_the_worker_has_lived_through_it_all(everything):
    assert everything.worker.is_running()
