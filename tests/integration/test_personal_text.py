"""What people have said stays in Redis, where it has an end: no file has any of it, and no line on stdout."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from support import wait_until
from support.cluster import make_intent
from support.far_end import FarEnd, make_answer
from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.publisher.message import TASK_NAME
from transfer_tasks.redis.connection import connect
from transfer_worker.audit.outbox import GROUP
from transfer_worker.monitoring.metrics import LedgerCollector

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from support.cluster import Cluster
    from transfer_tasks.publisher import TransferPublisher
    from transfer_worker.local.embedded_redis import EmbeddedRedis


class Words:
    """Words that only people say, each used once, so that what is left of one shows where it went in."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}

    def say(self, where: str) -> str:
        word = f"Hopper{chr(97 + len(self.given) // 26)}{chr(97 + len(self.given) % 26)}"
        self.given[word] = where
        return f"Grace {word} of Arlington"

    def left_in(self, text: str) -> set[str]:
        return {where for word, where in self.given.items() if word.lower() in text.lower()}


class EchoingPlatform(FarEnd):
    """A platform that repeats in each answer what it was asked: it accepts, refuses, or loses the answer."""

    def __init__(self) -> None:
        super().__init__(self._answer)

    def _answer(self, connection: socket.socket, count: int) -> bool:
        asked = self.requests[count - 1].body
        if b"12025550162" in asked:
            return False
        status = 400 if b"12025550110" in asked else 200
        said = (
            {"message": asked.decode(), "error": asked.decode()}
            if status == 400
            else {"message": asked.decode()}
        )
        connection.sendall(make_answer(status, json.dumps(said).encode(), "Content-Type: application/json"))
        return True


@pytest.fixture
def platform() -> Iterator[EchoingPlatform]:
    with EchoingPlatform() as platform:
        yield platform


def ask_well(publisher: TransferPublisher, words: Words, **fields: Any) -> Any:
    return publisher.submit(
        make_intent(
            **{
                "reason": words.say("reason"),
                "requested_by": words.say("requested_by"),
                "metadata": {"name": words.say("metadata")},
                **fields,
            }
        )
    )


def ask_badly(app: Celery, words: Words) -> list[str]:
    """Send by plain Celery what is refused; return the ids."""
    wrong: list[dict[str, Any]] = [
        {"reason": words.say("a reason that is too long") * 20},
        {"destination": words.say("a made-up destination")},
        {words.say("an unknown field"): 1},
        {"metadata": {words.say("the name of metadata"): 1}},
        {"metadata": {"a": [words.say("metadata that is not flat")]}},
        {"caller_id": words.say("a caller id")},
        {"schema_version": words.say("a version")},
        {"destination": {"pipeline": [{"action": words.say("an action")}]}},
        {"destination": {"type": "sip", "uri": f"sip:{words.say('a SIP user')}@example.com"}},
        {"destination": [{"action": "play", "file_name": words.say("a file")}, {"action": "connect",
            "endpoints": ["+12025550100"]}], "reason": words.say("the reason of a forbidden one")},
    ]  # fmt: skip
    ids = [str(uuid.uuid4()) for _ in wrong]
    for task_id, intent in zip(ids, wrong, strict=True):
        asked = {"call_id": str(uuid.uuid4()), "destination": "+12025550143", **intent}
        app.send_task(TASK_NAME, kwargs={"intent": asked}, task_id=task_id, expires=60, queue="transfers")
    return ids


def set_aside(cluster: Cluster, redis_client: Any, words: Words) -> None:
    redis_client.lpush("transfers", words.say("an element that is not JSON"))
    message = {"headers": {"id": words.say("a task id")}, "body": words.say("a body")}
    redis_client.lpush("transfers", json.dumps(message))
    redis_client.xadd("transfer:audit", {"stranger": words.say("a strange audit line")})


def test_no_file_has_anything_that_a_person_has_said(
    cluster: Cluster,
    publisher: TransferPublisher,
    platform: EchoingPlatform,
    redis_client: Any,
    ask: Callable[..., Result],
    tmp_path: Path,
) -> None:
    file, words = tmp_path / "audit.jsonl", Words()
    cluster.environment["TRANSFER_AUDIT_FILE"] = str(file)
    cluster.environment["TRANSFER_LOG_LEVEL"] = "DEBUG"
    worker = cluster.start_worker(PIOPIY_API_URL=platform.url)

    handles = [ask_well(publisher, words) for _ in range(2)]
    handles.append(ask_well(publisher, words, destination="+1 202-555-0110"))
    silent = ask_well(publisher, words, destination="+1 202-555-0162")
    silent.outcome()
    silent.report_not_transferred(detail=words.say("what a session saw"))
    again = ask_well(publisher, words, call_id=str(uuid.uuid4()), idempotency_key="order-7")
    other = make_intent(idempotency_key="order-7", reason=words.say("the reason of a conflict"))
    with pytest.raises(Exception, match="order-7"):
        publisher.submit(other)
    with Celery(broker=cluster.redis_url, set_as_current=False) as app:
        ids = ask_badly(app, words)
    set_aside(cluster, redis_client, words)
    for handle in (*handles, again):
        handle.outcome()
    for task_id in ids:
        wait_until(lambda of=task_id: "transfer.finished" in cluster.audit_events(of), 30)
    ask("pause", "--all", "--reason", "maintenance")
    paused = ask_well(publisher, words)
    paused.outcome()
    ask("resume", "--all")

    def is_written() -> bool:
        (group,) = [
            one for one in redis_client.xinfo_groups("transfer:audit") if one["name"] == GROUP.encode()
        ]
        newest = redis_client.xinfo_stream("transfer:audit")["last-generated-id"]
        return bool(group["last-delivered-id"] == newest and not group["pending"])

    wait_until(is_written, 30, message="all lines are written")

    written = [json.loads(line) for line in file.read_text().splitlines()]
    finished = {line["transfer_id"] for line in written if line["event"] == "transfer.finished"}
    assert finished >= {handle.transfer_id for handle in (*handles, silent, again, paused)} | set(ids)
    assert any(line.get("detail", "").startswith("paused by ana") for line in written)
    assert words.left_in(file.read_text()) == set()
    assert words.left_in(worker.output()) == set()
    with connect(cluster.redis_url, timeout_seconds=30) as client:
        registry = CollectorRegistry()
        registry.register(LedgerCollector(Ledger(client, retention_seconds=60)))
        assert words.left_in(generate_latest(registry).decode()) == set()
    # It is in Redis, as long as it may be: there it can be read, and erased.
    tail = ask("tail", "--no-follow", "--lines", "1000", "--json").output
    assert {"reason", "requested_by", "what a session saw", "a made-up destination"} <= words.left_in(tail)


def test_the_platform_gets_metadata_and_neither_the_reason_nor_who_asks(
    cluster: Cluster, publisher: TransferPublisher
) -> None:
    cluster.start_worker()
    words = Words()
    handle = ask_well(publisher, words)
    handle.outcome()
    assert words.left_in(json.dumps(cluster.sandbox.requests())) == {"metadata"}


def read_append_only(server: EmbeddedRedis) -> bytes:
    files = [path for path in server.data_dir.rglob("*") if path.is_file() and ".aof" in path.name]
    return b"".join(path.read_bytes() for path in files)


def test_the_append_only_file_has_it_until_it_is_rewritten(
    private_redis: EmbeddedRedis, ask: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    with connect(private_redis.url, timeout_seconds=30) as client:
        bench = LedgerBench(client)
        transfer_id = bench.accept(asked_by="Grace Hopper").transfer_id
        bench.cancel(transfer_id)
        bench.client.delete(bench.queue)
        client.xgroup_create(bench.keys.audit, GROUP, id="$")
        assert ask("erase", transfer_id, "--reason", "r").exit_code == 0
        client.delete(*client.scan_iter("transfer:statistics:*"))
        assert b"Hopper" in read_append_only(private_redis)

        client.bgrewriteaof()

        wait_until(lambda: b"Hopper" not in read_append_only(private_redis), 30, message="it is rewritten")


def test_the_slow_log_of_redis_may_have_it(private_redis: EmbeddedRedis) -> None:
    with connect(private_redis.url, timeout_seconds=30) as client:
        client.config_set("slowlog-log-slower-than", 0)
        LedgerBench(client).accept(asked_by="Grace Hopper")
        assert "Hopper" in str(client.slowlog_get(10))
        client.slowlog_reset()
        client.config_set("slowlog-log-slower-than", -1)
        assert "Hopper" not in str(client.slowlog_get(10))
