"""How a transfer of a test ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transfer_tasks.connection import ConnectionReason, ConnectionStatus
    from transfer_tasks.outcome import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedEnding:
    """How one transfer will end; see `ending`."""

    reason: Reason
    after_seconds: float
    unsent_seconds: float
    loses_answer: bool
    connection: ConnectionStatus | ConnectionReason | None
    rings_seconds: float


def ending(
    reason: Reason,
    *,
    after_seconds: float = 0.0,
    unsent_seconds: float = 0.0,
    loses_answer: bool = False,
    connection: ConnectionStatus | ConnectionReason | None = None,
    rings_seconds: float = 0.0,
) -> ScriptedEnding:
    """Return an ending for a script.

    Args:
        reason: Why it ends; the state follows from it.
        after_seconds: How long after the submission it ends.
        unsent_seconds: How long after the submission it can still be cancelled.
        loses_answer: Whether Redis goes away right after it has accepted: the submission raises
            `PublishOutcomeUnknown`, and nothing works until `RecordingPublisher.is_reachable` is set again.
        connection: What the platform says later: `ConnectionStatus.CONNECTED`, or why nobody was connected;
            None for a platform that says nothing.
        rings_seconds: How long after the submission it says so; before `after_seconds`, the report overtakes
            the platform's own answer.
    """
    return ScriptedEnding(
        reason=reason,
        after_seconds=after_seconds,
        unsent_seconds=unsent_seconds,
        loses_answer=loses_answer,
        connection=connection,
        rings_seconds=rings_seconds,
    )
