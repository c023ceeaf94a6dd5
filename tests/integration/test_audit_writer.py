"""The audit outbox on a real Redis: every line once, whoever shares the file; dead readers are forgotten."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from support import wait_until
from transfer_tasks.ledger.keys import Keys
from transfer_tasks.redis.connection import connect
from transfer_worker.audit import outbox
from transfer_worker.audit.outbox import GROUP, AuditWriter, follow

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    import redis

KEYS = Keys()


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(fields["event_id"])


def add_lines(client: redis.Redis, count: int, *, text: str = "x") -> None:
    for number in range(count):
        client.xadd(
            KEYS.audit,
            {"event": "transfer.accepted", "at_ms": 1, "transfer_id": str(number), "call_id": "c", "key": "k",
             "hop": 1, "attempt": 0, "labels": "{}", "data": json.dumps({"asked": text})},
        )  # fmt: skip


def start_writer(redis_url: str, name: str, *, file: Path | None = None) -> tuple[AuditWriter, Log]:
    log = Log()
    writer = AuditWriter(connect(redis_url, timeout_seconds=3), keys=KEYS, worker=name, log=log, file=file)
    writer.start()
    return writer, log


def test_workers_that_share_a_file_write_every_line_once_and_whole(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    file = tmp_path / "outbox.jsonl"
    add_lines(redis_client, 1000, text="y" * 500)

    writers = [start_writer(redis_url, f"w{number}", file=file) for number in range(3)]
    wait_until(lambda: sum(len(log.lines) for _, log in writers) == 1000, message="all lines are logged")
    for writer, _ in writers:
        writer.stop(within_seconds=5)

    written = [json.loads(line)["event_id"] for line in file.read_text().splitlines()]
    assert len(written) == len(set(written)) == 1000
    assert redis_client.xpending(KEYS.audit, GROUP)["pending"] == 0
    assert redis_client.xinfo_consumers(KEYS.audit, GROUP) == []


def test_lines_that_a_dead_reader_held_are_adopted_and_the_reader_is_forgotten(
    redis_url: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ADOPT_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(outbox, "FORGET_AFTER_SECONDS", 0.3)
    add_lines(redis_client, 5)
    redis_client.xgroup_create(KEYS.audit, GROUP, id="0")
    redis_client.xreadgroup(GROUP, "dead", {KEYS.audit: ">"})

    writer, log = start_writer(redis_url, "alive")
    wait_until(lambda: len(log.lines) == 5, message="the lines are adopted")

    def names() -> set[bytes]:
        return {consumer["name"] for consumer in redis_client.xinfo_consumers(KEYS.audit, GROUP)}

    wait_until(lambda: b"dead" not in names(), message="the dead reader is forgotten")
    writer.stop(within_seconds=5)


def test_who_follows_takes_nothing_from_the_writers(redis_url: str, redis_client: redis.Redis) -> None:
    add_lines(redis_client, 3)
    stop = threading.Event()
    seen = []
    for line in follow(connect(redis_url, timeout_seconds=3), keys=KEYS, stop=stop, since="0"):
        seen.append(line["event_id"])
        if len(seen) == 3:
            stop.set()

    writer, log = start_writer(redis_url, "w")
    wait_until(lambda: len(log.lines) == 3, message="the writer has them all")
    writer.stop(within_seconds=5)
    assert log.lines == seen
