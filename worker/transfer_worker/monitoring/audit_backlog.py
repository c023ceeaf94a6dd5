"""How far the writers of the audit log are behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from transfer_worker.audit.outbox import GROUP

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger

LATE_SECONDS: Final = 30.0
"""A line is written within a second while a worker lives, and within six where its worker has died."""

_COUNTED_LINES: Final = 10_000
"""Redis 6.2 does not know how many lines are unread; there, so many are counted."""


class AuditBacklog(NamedTuple):
    """Lines that are in Redis and in no log yet.

    Attributes:
        lines: How many; with Redis 6.2 at least so many.
        oldest_seconds: How old the oldest of them is; 0 where there is none.
    """

    lines: int
    oldest_seconds: float

    @property
    def is_late(self) -> bool:
        """Whether somebody should look at it."""
        return self.oldest_seconds > LATE_SECONDS


def ask_audit_backlog(pipe: Any, ledger: Ledger) -> None:
    """Put the question into a pipeline."""
    command = ledger.commands.audit_backlog(audit_group=GROUP, limit=_COUNTED_LINES)
    pipe.eval(command.script.source, 0, *command.arguments)


def build_audit_backlog(reply: list[Any], now_ms: int) -> AuditBacklog:
    """Return what the reply says."""
    lines, oldest_ms = int(reply[0]), int(reply[1])
    return AuditBacklog(lines, max(0.0, (now_ms - oldest_ms) / 1000) if lines else 0.0)
