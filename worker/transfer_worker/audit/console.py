"""Audit lines for people: one readable line each, as they happen."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import redis
from rich.text import Text

from transfer_tasks.ledger.keys import Keys
from transfer_tasks.redis.connection import connect
from transfer_worker.audit.outbox import BLOCK_SECONDS, AuditEvent, entry_of, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

_STYLES: Final = {
    AuditEvent.ACCEPTED: "bold",
    AuditEvent.RETRY_SCHEDULED: "yellow",
    AuditEvent.REQUEUED: "yellow",
    AuditEvent.REFUSED: "red",
    AuditEvent.CONNECTED: "green",
    AuditEvent.NOT_CONNECTED: "red",
    AuditEvent.MOVED_TWICE: "bold red",
    AuditEvent.PAUSED: "bold red",
    AuditEvent.RESUMED: "bold green",
    AuditEvent.QUARANTINED: "red",
}
STATE_STYLES: Final = {
    "submitted": "green",
    "unknown": "bold magenta",
    "waiting": "yellow",
    "claimed": "yellow",
    "sending": "yellow",
}
"""How an ending is coloured; every other one is red."""

_SAID_ALREADY: Final = frozenset(
    {"timestamp", "event", "event_id", "transfer_id", "call_id", "idempotency_key", "hop", "attempt"}
)
_QUIET: Final = frozenset({"worker", "source"})
_REPORTED: Final = frozenset({AuditEvent.RINGING, AuditEvent.CONNECTED, AuditEvent.NOT_CONNECTED})
"""Of these it is said whose word they are."""
_LABELS: Final = frozenset({"destination", "to"})
_WITH_LABELS: Final = frozenset(
    {
        AuditEvent.ACCEPTED, AuditEvent.FINISHED, AuditEvent.RESOLVED, AuditEvent.REFUSED, AuditEvent.PAUSED,
        AuditEvent.RESUMED, *_REPORTED,
    }
)  # fmt: skip
_WITH_CALL: Final = frozenset(
    {
        AuditEvent.ACCEPTED, AuditEvent.FINISHED, AuditEvent.RESOLVED, AuditEvent.REFUSED,
        AuditEvent.MOVED_TWICE, AuditEvent.ACKNOWLEDGED, *_REPORTED,
    }
)  # fmt: skip
RECONNECT_SECONDS: Final = 0.5

_FIRST: Final = (
    "reason", "destination", "to", "requested_by", "signed_as", "signed_by", "operator", "asked",
    "http_status", "why", "detail", "waited_ms", "attempt_ms",
)  # fmt: skip
"""What people read first. The servers write a line's fields in different orders: Lua's tables have none."""


def describe_line(line: Mapping[str, Any]) -> Text:
    """Return one audit line for people. It holds nothing that the line itself does not."""
    event = str(line["event"])
    style = STATE_STYLES.get(str(line.get("state")), "red") if "state" in line else _STYLES.get(event, "")  # type: ignore[call-overload]
    text = Text(f"  {str(line['timestamp'])[11:23]}  {line['transfer_id'][:8]}  ", style="dim")
    text.append(f"{event.removeprefix('transfer.'):<15} ", style=style)
    if line.get("attempt"):
        text.append(f"attempt {line['attempt']}  ", style="dim")
    left_out = (
        _SAID_ALREADY
        | (_QUIET - {"source"} if event in _REPORTED else _QUIET)
        | (frozenset() if event in _WITH_LABELS else _LABELS)
    )
    shown = {name: value for name, value in line.items() if name not in left_out and value != ""}
    if state := shown.pop("state", None):
        text.append(f"{state} ", style=style)
    if event in _WITH_CALL:
        shown["call"] = line["call_id"]
    ordered = [name for name in _FIRST if name in shown] + sorted(shown.keys() - set(_FIRST))
    text.append("  ".join(f"{name}={shown[name]}" for name in ordered))
    text.rstrip()
    return text


def print_line(console: Console, line: Mapping[str, Any]) -> None:
    """Print one audit line: broken between words at a terminal, in one line elsewhere."""
    console.print(describe_line(line), soft_wrap=not console.is_terminal)


class AuditWatch:
    """Hands each audit line to `show` as it happens, on a thread of its own. A context manager.

    Args:
        redis_url: Where the ledger is.
        show: Called with each line, on the thread.
        since: ``0`` for all that is there, ``$`` for what comes.
    """

    def __init__(self, redis_url: str, *, show: Callable[[Mapping[str, Any]], None], since: str) -> None:
        self._client = connect(redis_url, timeout_seconds=BLOCK_SECONDS + 1)
        self._show, self._since = show, since
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-watch", daemon=True)

    def __enter__(self) -> AuditWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(BLOCK_SECONDS + 1)
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for line in follow(self._client, keys=Keys(), stop=self._stop, since=self._since):
                    self._since = entry_of(line["event_id"])
                    self._show(line)
            except (redis.RedisError, OSError):
                self._stop.wait(RECONNECT_SECONDS)  # the lines are safe in Redis, and come when it does
