"""The writer that turns the ledger's outbox into log lines.

The workers drain the stream as one consumer group: each line is written by one of them, to stdout and to the
file, and then acknowledged. A worker that dies in between leaves a line that is written once more, with the
same `event_id`. A file that takes nothing (its disk is full) holds nothing up: stdout gets its line, and the
line stays in Redis, unacknowledged, until the file takes it::

    read ─▶ stdout ─▶ file ─▶ acknowledged
                       └─ full ─▶ held: tried again every second, or adopted by a worker whose file works

An entry that can't be read is set aside for an engineer, and the next one is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_worker.audit.heads import HeadKeeper
from transfer_worker.audit.outbox import (
    BATCH_LINES,
    BLOCK_SECONDS,
    GROUP,
    MalformedEntry,
    read_lines_for_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from transfer_tasks.ledger.keys import Keys
    from transfer_worker.audit.file import AuditFile

ADOPT_AFTER_SECONDS: Final = 5.0
"""A line that its reader has not acknowledged for so long is another's to write."""
FORGET_AFTER_SECONDS: Final = 600.0
"""A reader that has not asked for so long is dead; the living ask every second. Looked for as often."""
PAUSE_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0
"""How long a file that took nothing is left alone."""
EMPTY_STREAM_SECONDS: Final = 24 * 3600
GATHER_SECONDS: Final = 0.1
"""How long lines are left to gather: reading each by itself costs more than writing it."""

Entry = tuple[str, dict[str, str]]
Lines = dict[str, list[Mapping[str, Any]]]
"""What each entry brings, by its id."""


class LineWriter(Protocol):
    """Where audit lines go: a structlog logger, say. Which method it is, the field `level` says as well."""

    def info(self, event: str, **fields: Any) -> Any:
        """Write one line."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Write one line."""

    def error(self, event: str, **fields: Any) -> Any:
        """Write one line."""


class Log(Protocol):
    """Where the writer tells of itself."""

    def info(self, event: str, **fields: object) -> object:
        """Write one line."""

    def error(self, event: str, **fields: object) -> object:
        """Write one line."""

    def exception(self, event: str, **fields: object) -> object:
        """Write one line, with the exception that is handled."""


class AuditWriter:
    """Drains the outbox on a thread of its own, so that no transfer waits for a log.

    Args:
        client: A Redis client of its own, whose socket timeout is longer than `BLOCK_SECONDS`.
        keys: The ledger's keys.
        worker: This consumer's name.
        lines: Where each line goes.
        log: Where the writer tells of itself.
        clean: Masks a line.
        set_aside: Keeps an entry that can't be read, and acknowledges it. Gets its id, its fields, and why.
        file: Each line is also appended here, if given.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        keys: Keys,
        worker: str,
        lines: LineWriter,
        log: Log,
        clean: Callable[[dict[str, Any]], Mapping[str, Any]],
        set_aside: Callable[[str, Mapping[str, str], str], None],
        file: AuditFile | None = None,
    ) -> None:
        self._client, self._stream, self._worker = client, keys.audit, worker
        self._lines, self._log, self._file = lines, log, file
        self._heads = HeadKeeper(client, keys=keys, file=file, log=log) if file else None
        self._clean, self._set_aside = clean, set_aside
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._adopt_at = self._forget_at = 0.0
        self._may_hold_unread = False  # Redis may have given us lines in an answer that was lost
        self._page = ""  # where we are in what is ours and not acknowledged; empty while nobody looks there
        # What stdout has and the file has not; and the first batch of it, which the file is tried with again.
        self._held: set[str] = set()
        self._sample: Lines = {}
        self._retry_at = 0.0

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
                    self._leave()
                    return
                if 0 < line_count < BATCH_LINES:
                    self._stop.wait(GATHER_SECONDS)
            except redis.exceptions.ResponseError as error:
                self._distrust()
                if not str(error).startswith("NOGROUP"):
                    self._stop.wait(PAUSE_SECONDS)
                elif not self._create_group() and self._stop.is_set():
                    return
            except (redis.RedisError, LedgerUnavailable, OSError):
                # The lines are safe in Redis, and come when it does; those of a lost answer are ours already.
                self._distrust()
                if self._stop.wait(PAUSE_SECONDS):
                    return
            except Exception:  # noqa: BLE001 - the top of a thread: a fault would end the audit log silently
                self._log.exception("audit.writer_failed")
                self._distrust()
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

    def _leave(self) -> None:
        """Go, and take nothing along: what a dead disk holds up is adopted by another worker."""
        if self._sample and not self._try_again():
            self._log.error("audit.lines_left_in_redis", lines=len(self._held))
            return
        while self._page and (entries := self._read_own()):
            self._write(entries)
        if not self._held:
            self._client.xgroup_delconsumer(self._stream, GROUP, self._worker)

    def _drain(self) -> int:
        """Write one batch; return its size."""
        if self._sample and time.monotonic() >= self._retry_at:
            self._try_again()
        entries = self._read_own() or self._adopt() or self._read(">")
        self._write(entries)
        return len(entries)

    def _distrust(self) -> None:
        self._may_hold_unread, self._page = True, ""

    def _read_own(self) -> list[Entry]:
        """Return the next page of what Redis gave us and is not acknowledged, if we have to look there."""
        if self._may_hold_unread and not self._page:
            self._page = "0"
        if not self._page:
            return []
        entries = self._read(self._page)
        self._page = entries[-1][0] if entries else ""
        if not entries:
            self._may_hold_unread = False
            if not self._sample:
                self._held.clear()  # what is left has been adopted
        return entries

    def _read(self, since: str) -> list[Entry]:
        block_ms = None if self._stop.is_set() else int(BLOCK_SECONDS * 1000)
        reply = cast(
            "list[tuple[str, list[Entry]]]",
            self._client.xreadgroup(
                GROUP, self._worker, {self._stream: since}, count=BATCH_LINES, block=block_ms
            ),
        )
        return reply[0][1] if reply else []

    def _adopt(self) -> list[Entry]:
        """Take over lines that another worker has read and not acknowledged: it died, or its file is full."""
        if self._sample or time.monotonic() < self._adopt_at:
            return []
        self._adopt_at = time.monotonic() + ADOPT_AFTER_SECONDS
        reply = self._client.xautoclaim(
            self._stream, GROUP, self._worker, int(ADOPT_AFTER_SECONDS * 1000), count=BATCH_LINES
        )
        self._forget_dead_consumers()
        if self._heads:
            self._heads.drop_old()
        # A trimmed one has no id any more (Redis 6.2).
        return [entry for entry in cast("list[Entry]", reply[1]) if entry[0] is not None]

    def _forget_dead_consumers(self) -> None:
        """Take those off the group's list that hold nothing and ask for nothing: killed workers."""
        if time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + FORGET_AFTER_SECONDS
        for consumer in self._client.xinfo_consumers(self._stream, GROUP):
            if consumer["pending"] == 0 and consumer["idle"] > FORGET_AFTER_SECONDS * 1000:
                self._client.xgroup_delconsumer(self._stream, GROUP, consumer["name"])

    def _write(self, entries: list[Entry]) -> None:
        if not entries:
            return
        lines = self._read_lines(entries)
        self._print(line for entry_id, told in lines.items() if entry_id not in self._held for line in told)
        if self._sample or not self._append(lines):
            self._held.update(lines)
            return
        self._acknowledge([entry_id for entry_id, _ in entries])
        self._held.difference_update(lines)

    def _read_lines(self, entries: list[Entry]) -> Lines:
        lines: Lines = {}
        for entry_id, fields in entries:
            if not fields:  # trimmed
                continue
            try:
                lines[entry_id] = [self._clean(line) for line in read_lines_for_file(entry_id, fields)]
            except MalformedEntry as error:
                self._log.error("audit.set_aside", entry=entry_id, why=str(error))
                self._set_aside(entry_id, fields, str(error))
        return lines

    def _print(self, lines: Iterable[Mapping[str, Any]]) -> None:
        for line in lines:
            fields = dict(line)
            try:
                getattr(self._lines, fields["level"])(fields.pop("event"), **fields)
            except (OSError, ValueError) as error:  # a full disk, or closed
                if self._file is None:
                    raise OSError("stdout takes no more; the lines are kept in Redis") from error

    def _append(self, lines: Lines) -> bool:
        """Append to the file, if there is one; return whether it has taken them."""
        if self._file is None:
            return True
        try:
            self._file.append(list(chain.from_iterable(lines.values())))
        except OSError as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            if not self._sample:
                self._sample = lines
                self._log.error("audit.file_failed", cause=str(error))
            return False
        return True

    def _try_again(self) -> bool:
        """Try the file with the first batch that it did not take; return whether it works again.

        The batch is kept here: reading it from Redis again would keep other workers from adopting it.
        """
        if not self._append(self._sample):
            return False
        self._log.info("audit.file_works_again", lines_held=len(self._held))
        written, self._sample = self._sample, {}
        self._page = "0"
        self._acknowledge(list(written))
        self._held.difference_update(written)
        return True

    def _acknowledge(self, entry_ids: list[str]) -> None:
        """Say where the file's chain is, so that its end can't be cut off, then that these lines are written.

        Not in one transaction: a Redis that is full would refuse both, and the lines would be written again.
        """
        with self._client.pipeline(transaction=False) as pipe:
            if self._heads:
                self._heads.ask_to_keep(pipe)
            pipe.xack(self._stream, GROUP, *entry_ids)
            *replies, acknowledged = pipe.execute(raise_on_error=False)
        if self._heads:
            self._heads.note(replies)
        if isinstance(acknowledged, redis.RedisError):
            raise acknowledged
