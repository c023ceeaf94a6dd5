"""The audit vocabulary, and the writer that turns the ledger's outbox into log lines.

Every transition appends its line to a Redis stream in the same Lua step, so a line exists if and only if the
change happened, whoever dies. The workers drain the stream as one consumer group: each line is written by one
of them. A worker that dies between writing and acknowledging leaves a line that is written once more, with
the same `event_id`.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import redis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from transfer_tasks.ledger.keys import Keys

GROUP: Final = "audit-writers"
BLOCK_SECONDS: Final = 1.0
ADOPT_AFTER_SECONDS: Final = 5.0
"""A line that its reader has not acknowledged for so long is another's to write."""
FORGET_AFTER_SECONDS: Final = 600.0
"""A reader that has not asked for so long is dead; the living ask every second."""
BATCH_LINES: Final = 200
PAUSE_SECONDS: Final = 0.5
EMPTY_STREAM_SECONDS: Final = 24 * 3600
GATHER_SECONDS: Final = 0.1
"""How long lines are left to gather: reading each by itself costs more than writing it."""


class AuditEvent(StrEnum):
    """Every line that a transfer, a queue message or an operator can leave."""

    ACCEPTED = "transfer.accepted"
    REPEATED = "transfer.repeated"
    REFUSED = "transfer.refused"
    CLAIMED = "transfer.claimed"
    ATTEMPT_STARTED = "transfer.attempt_started"
    RETRY_SCHEDULED = "transfer.retry_scheduled"
    REQUEUED = "transfer.requeued"
    FINISHED = "transfer.finished"
    RESOLVED = "transfer.resolved"
    QUARANTINED = "message.quarantined"
    DROPPED = "quarantine.dropped"
    ADOPTED = "quarantine.adopted"
    PAUSED = "destination.paused"
    RESUMED = "destination.resumed"


class LineWriter(Protocol):
    """Where audit lines go: a structlog logger, say."""

    def info(self, event: str, **fields: Any) -> Any:
        """Write one line."""


def read_line(event_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return one outbox entry as the fields of its log line, flat."""
    line: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(int(fields["at_ms"]) / 1000, UTC).isoformat(
            timespec="milliseconds"
        ),
        "event": fields["event"],
        "event_id": event_id,
        "transfer_id": fields["transfer_id"],
        "call_id": fields["call_id"],
        "idempotency_key": fields["key"],
        "hop": int(fields["hop"] or 0),
        "attempt": int(fields["attempt"]),
    }
    line.update(json.loads(fields["labels"]))
    line.update((name, value) for name, value in json.loads(fields["data"]).items() if value is not None)
    return line


class AuditWriter:
    """Drains the outbox on a thread of its own, so that no transfer waits for a log.

    Args:
        client: A Redis client of its own, whose socket timeout is longer than `BLOCK_SECONDS`.
        keys: The ledger's keys.
        worker: This consumer's name.
        log: Where each line goes.
        file: Also appended here, if given; one JSON object a line.
    """

    def __init__(
        self, client: redis.Redis, *, keys: Keys, worker: str, log: LineWriter, file: Path | None = None
    ) -> None:
        self._client, self._stream, self._worker, self._log = client, keys.audit, worker, log
        # Unbuffered: a batch is one write at the end of the file, so workers that share it can't tear lines.
        self._file = file.open("ab", buffering=0) if file else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._adopt_at = 0.0
        self._may_hold_unread = False

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, *, within_seconds: float) -> None:
        """Write what is there, then end."""
        self._stop.set()
        self._thread.join(within_seconds)
        if self._file:
            self._file.close()

    def _run(self) -> None:
        while True:
            try:
                line_count = self._drain()
                if not line_count and self._stop.is_set():
                    self._client.xgroup_delconsumer(self._stream, GROUP, self._worker)
                    return
                if 0 < line_count < BATCH_LINES:
                    self._stop.wait(GATHER_SECONDS)
            except redis.exceptions.ResponseError as error:
                self._may_hold_unread = True
                if not str(error).startswith("NOGROUP"):
                    self._stop.wait(PAUSE_SECONDS)
                elif not self._create_group() and self._stop.is_set():
                    return
            except (redis.RedisError, OSError):
                # The lines are safe in Redis, and come when it does; those of a lost answer are ours already.
                self._may_hold_unread = True
                if self._stop.wait(PAUSE_SECONDS):
                    return

    def _create_group(self) -> bool:
        try:
            self._client.xgroup_create(self._stream, GROUP, id="0", mkstream=True)
            if self._client.ttl(self._stream) == -1:  # made just now; its first line sets the right one
                self._client.expire(self._stream, EMPTY_STREAM_SECONDS)
        except redis.exceptions.ResponseError as error:
            return str(error).startswith("BUSYGROUP")
        except (redis.RedisError, OSError):
            return False
        return True

    def _drain(self) -> int:
        """Write one batch; return its size."""
        entries = self._read_own() or self._adopt() or self._read(">")
        if not entries:
            return 0
        # A trimmed entry has no fields any more.
        self._write([read_line(event_id, fields) for event_id, fields in entries if fields])
        self._client.xack(self._stream, GROUP, *(event_id for event_id, _ in entries))
        return len(entries)

    def _read_own(self) -> list[tuple[str, dict[str, str]]]:
        """Return what Redis gave us and we may never have seen; deleting this consumer would lose it."""
        entries = self._read("0") if self._may_hold_unread else []
        self._may_hold_unread = bool(entries)
        return entries

    def _read(self, since: str) -> list[tuple[str, dict[str, str]]]:
        block_ms = None if self._stop.is_set() else int(BLOCK_SECONDS * 1000)
        reply = cast(
            "list[tuple[str, list[tuple[str, dict[str, str]]]]]",
            self._client.xreadgroup(
                GROUP, self._worker, {self._stream: since}, count=BATCH_LINES, block=block_ms
            ),
        )
        return reply[0][1] if reply else []

    def _adopt(self) -> list[tuple[str, dict[str, str]]]:
        """Take over lines that a dead worker had read and not acknowledged."""
        if time.monotonic() < self._adopt_at:
            return []
        self._adopt_at = time.monotonic() + ADOPT_AFTER_SECONDS
        reply = self._client.xautoclaim(
            self._stream, GROUP, self._worker, int(ADOPT_AFTER_SECONDS * 1000), count=BATCH_LINES
        )
        self._forget_dead_consumers()
        return cast("list[tuple[str, dict[str, str]]]", reply[1])

    def _forget_dead_consumers(self) -> None:
        """Take those off the group's list that hold nothing and ask for nothing: killed workers."""
        for consumer in self._client.xinfo_consumers(self._stream, GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_AFTER_SECONDS * 1000:
                self._client.xgroup_delconsumer(self._stream, GROUP, consumer["name"])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._file:
            batch = "".join(json.dumps(line) + "\n" for line in lines).encode()
            if self._file.write(batch) != len(batch):
                raise OSError("the audit file takes no more; the lines are kept in Redis")
        for line in lines:
            fields = dict(line)
            self._log.info(fields.pop("event"), **fields)


def follow(
    client: redis.Redis, *, keys: Keys, stop: threading.Event, since: str = "$"
) -> Iterable[dict[str, Any]]:
    """Yield audit lines as they are written, for people who watch. Takes nothing from the writers.

    Args:
        client: A Redis client of its own, whose socket timeout is longer than `BLOCK_SECONDS`.
        keys: The ledger's keys.
        stop: Ends it.
        since: The event id to begin after; ``0`` for all that is there, ``$`` for what comes.
    """
    while not stop.is_set():
        reply = cast(
            "list[tuple[str, list[tuple[str, dict[str, str]]]]]",
            client.xread({keys.audit: since}, count=BATCH_LINES, block=int(BLOCK_SECONDS * 1000)),
        )
        for event_id, fields in reply[0][1] if reply else []:
            since = event_id
            yield read_line(event_id, fields)
