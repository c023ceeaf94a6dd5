"""The audit vocabulary, and how an entry of the ledger's outbox is read.

Every transition appends its line to a Redis stream in the same Lua step, so a line exists if and only if the
change happened, whoever dies.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence

    import redis

    from transfer_tasks.ledger.keys import Keys

GROUP: Final = "audit-writers"
"""The consumer group that all writers are."""
BLOCK_SECONDS: Final = 1.0
BATCH_LINES: Final = 200

_PARTS: Final = ("event", "at_ms", "transfer_id", "call_id", "key", "hop", "attempt", "labels", "data")
"""What an entry says of its first line, in its order."""

_MORE: Final = ("event", "attempt", "data")
"""What it says of each further line of the same step; the rest is as in the first."""

_PLAIN: Final = str | int | float | bool | None
_UNREADABLE: Final = (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError, RecursionError)
"""What reading an entry may raise, where anything may stand in it."""


@cache
def program() -> Mapping[str, str]:
    """Return what each line says of the program that wrote it."""
    from importlib.metadata import version  # and with it what reads mails

    return {"service": "call-transfer", "version": version("call-transfer")}


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
    RINGING = "transfer.ringing"
    CONNECTED = "transfer.connected"
    NOT_CONNECTED = "transfer.not_connected"
    MOVED_TWICE = "call.moved_twice"
    ACKNOWLEDGED = "call.acknowledged"
    QUARANTINED = "message.quarantined"
    DROPPED = "quarantine.dropped"
    SET_ASIDE = "audit.set_aside"
    ADOPTED = "quarantine.adopted"
    REVEALED = "metadata.revealed"
    ERASED = "call.erased"
    PAUSED = "destination.paused"
    RESUMED = "destination.resumed"
    LIMITS_SET = "limits.set"
    CONTROL_REFUSED = "control.refused"
    CONTROL_OBEYED = "control.obeyed"


_SAID_BY_PEOPLE: Final = frozenset({"asked", "requested_by"})
_QUOTES: Final = " (got "
"""Whatever refuses a request shows so what stood there."""

_ENDED_WELL: Final = frozenset({"submitted", "cancelled"})
_WARNINGS: Final = frozenset(
    {
        AuditEvent.REFUSED, AuditEvent.QUARANTINED, AuditEvent.PAUSED, AuditEvent.CONTROL_REFUSED,
        AuditEvent.CONTROL_OBEYED,
    }
)  # fmt: skip
_ERRORS: Final = frozenset({AuditEvent.MOVED_TWICE, AuditEvent.SET_ASIDE})


def level_of(line: Mapping[str, Any]) -> str:
    """Return how much a line should worry whoever reads logs: ``info``, ``warning`` or ``error``.

    A caller who is told no is a warning. One whose request failed, came too late, or is unknown is an error.
    """
    event = line["event"]
    if event == AuditEvent.FINISHED:
        state = line.get("state")
        return "info" if state in _ENDED_WELL else "warning" if state == "rejected" else "error"
    return "error" if event in _ERRORS else "warning" if event in _WARNINGS else "info"


class MalformedEntry(ValueError):
    """An outbox entry is none of ours: a field is missing, or can't be read."""


def read_lines(entry_id: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one outbox entry as the fields of its log lines, flat, in their order.

    The first has the entry's id as its `event_id`, a further one the same with `.2` behind it, and so on.

    Raises:
        MalformedEntry: It can't be read. Anybody who can write to Redis can put anything there.
    """
    try:
        return [
            _build_line(entry_id if number == 1 else f"{entry_id}.{number}", parts)
            for number, parts in enumerate(_read_entry(fields), 1)
        ]
    except _UNREADABLE as error:
        raise MalformedEntry(f"{type(error).__name__}: {error}"[:200]) from error


def entry_of(event_id: str) -> str:
    """Return the id of the entry that has brought a line."""
    return event_id.partition(".")[0]


def read_lines_for_file(entry_id: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one outbox entry as it may leave Redis: nothing in a file has a time to live, or can be erased.

    What a request says and what a session reports stays behind, and with it a detail that quotes a request.
    What machines sort lines by comes on top: the level, and the program that writes it.

    Raises:
        MalformedEntry: As `read_lines`.
    """
    return [_fit_for_file(line) for line in read_lines(entry_id, fields)]


def _fit_for_file(line: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in line.items() if name not in _SAID_BY_PEOPLE}
    if kept.get("source") == "session" or _QUOTES in str(kept.get("detail", "")):
        kept.pop("detail", None)
    return {**kept, "level": level_of(kept), **program()}


def read_any_lines(entry_id: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one outbox entry as `read_lines` does; a malformed one as a line that says so."""
    try:
        return read_lines(entry_id, fields)
    except MalformedEntry as error:
        at_ms = entry_id.partition("-")[0]
        parts = ["unreadable", at_ms, "", "", "", "", "0", "{}", "{}"]
        return [{**_build_line(entry_id, parts), "why": str(error)}]


def whose_entry(fields: Mapping[str, str]) -> tuple[str, str]:
    """Return the call and the transfer of an outbox entry; empty texts where it can't be read."""
    try:
        _, _, transfer_id, call_id, *_ = _read_entry(fields)[0]
    except _UNREADABLE:
        return fields.get("call_id", ""), fields.get("transfer_id", "")
    return call_id, transfer_id


def _read_entry(fields: Mapping[str, str]) -> list[list[str]]:
    """Return what `audit_entry` (scripts/start.lua) has written, a list for each line.

    An older version has written nine fields.
    """
    if "line" not in fields:
        return [[fields[name] for name in _PARTS]]
    parts = json.loads(fields["line"])
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("line is not a list of texts")
    size, step = len(_PARTS), len(_MORE)
    if len(parts) < size or (len(parts) - size) % step:
        raise ValueError(f"line is not a list of {size} texts, and {step} for each further line")
    first = dict(zip(_PARTS, parts[:size], strict=True))
    further = (
        first | dict(zip(_MORE, parts[at : at + step], strict=True)) for at in range(size, len(parts), step)
    )
    return [list(line.values()) for line in (first, *further)]


def _build_line(event_id: str, parts: Sequence[str]) -> dict[str, Any]:
    """Return what an entry says of one line as its fields; raise any of `_UNREADABLE` where it can't."""
    event, at_ms, transfer_id, call_id, key, hop, attempt, labels, data = parts
    line: dict[str, Any] = {
        "timestamp": datetime.fromtimestamp(int(at_ms) / 1000, UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "event_id": event_id,
        "transfer_id": transfer_id,
        "call_id": call_id,
        "idempotency_key": key,
        "hop": int(hop or 0),
        "attempt": int(attempt),
    }
    for name, value in (*_read_object(labels), *_read_object(data)):
        if value is not None:
            line.setdefault(name, value)
    return line


def _read_object(text: str) -> Iterable[tuple[str, Any]]:
    """Return the members of a flat JSON object; every line of ours is flat."""
    members = json.loads(text, parse_constant=_refuse_constant).items()
    for name, value in members:
        if name == "self" or not name.isidentifier() or not isinstance(value, _PLAIN):
            raise ValueError(f"{name!r} is not a plain field")
    return cast("Iterable[tuple[str, Any]]", members)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def follow(
    client: redis.Redis, *, keys: Keys, stop: threading.Event, since: str = "$"
) -> Iterable[dict[str, Any]]:
    """Yield audit lines as they are written, for people who watch. Takes nothing from the writers.

    Args:
        client: A Redis client of its own, whose socket timeout is longer than `BLOCK_SECONDS`.
        keys: The ledger's keys.
        stop: Ends it.
        since: The entry's id to begin after; ``0`` for all that is there, ``$`` for what comes.
    """
    while not stop.is_set():
        reply = cast(
            "list[tuple[str, list[tuple[str, dict[str, str]]]]]",
            client.xread({keys.audit: since}, count=BATCH_LINES, block=int(BLOCK_SECONDS * 1000)),
        )
        for entry_id, fields in reply[0][1] if reply else []:
            since = entry_id
            yield from read_any_lines(entry_id, fields)
