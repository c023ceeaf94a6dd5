"""What a session that is still in the call may say about a transfer whose outcome is unknown, and when."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import (
    ConnectionTimeout,
    LedgerUnavailable,
    OutcomeTimeout,
    TransferNotFound,
)
from transfer_tasks.outcome import State, TransferOutcome
from transfer_tasks.registry.ring_time import PLATFORM_RING_SECONDS
from transfer_tasks.voice.loop_time import loop_time

if TYPE_CHECKING:
    from transfer_tasks.connection import Connection
    from transfer_tasks.voice.ports import Handle
    from transfer_tasks.voice.settings import VoiceSettings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""How often a session looks whether an unknown outcome has become known, by a late answer, say."""

REPORT_PAUSE_SECONDS: Final = 1.0


def evidence_after_seconds(settings: VoiceSettings, longest_ring_seconds: float | None) -> float | None:
    """Return how long a session must outlive a lost answer to be evidence; None where it never is.

    Until the target answers, the platform leaves the agent with the caller: a session that is still in the
    call says nothing about a transfer that may yet be ringing.
    """
    if not settings.session_evidence or longest_ring_seconds is None:
        return None
    return longest_ring_seconds + settings.session_evidence_grace_seconds


def may_ring_seconds(settings: VoiceSettings, longest_ring_seconds: float | None) -> float:
    """Return for how long after an accepted request no other one may be made: its target may be ringing."""
    return (longest_ring_seconds or PLATFORM_RING_SECONDS) + settings.session_evidence_grace_seconds


async def settle_unknown(handle: Handle, *, after_seconds: float | None) -> TransferOutcome | None:
    """Look for the truth until the session itself is the evidence, then give it. Cancel this when it ends.

    ::

        unknown ──┬── the truth comes from elsewhere (a late answer, an engineer) ──▶ that
                  └── still in the call `after_seconds` later ──▶ report_not_transferred ──▶ what is on record

    Args:
        handle: The transfer.
        after_seconds: See `evidence_after_seconds`; where it is None, this looks for as long as it takes.

    Returns:
        What is on record then; None where nothing is.
    """
    due_at: float | None = None
    while due_at is None or loop_time() < due_at:
        try:
            outcome = await handle.outcome(timeout=LOOK_SECONDS)
            if outcome.state is not State.UNKNOWN:
                return outcome
            if due_at is None and after_seconds is not None:
                due_at = loop_time() + after_seconds
        except TransferNotFound:
            due_at = due_at or loop_time() + (after_seconds or PLATFORM_RING_SECONDS)
        except (OutcomeTimeout, LedgerUnavailable) as error:
            log.info("%s", error)
        await asyncio.sleep(
            LOOK_SECONDS if due_at is None else max(0.0, min(LOOK_SECONDS, due_at - loop_time()))
        )
    if after_seconds is None:
        return None
    return await _report(handle, f"the session held the call for {after_seconds:g} s after it became unknown")


async def wait_for_connection(handle: Handle, *, within_seconds: float) -> Connection | None:
    """Wait whether anybody picks up, for as long as it may ring; None where nobody says."""
    try:
        return await handle.connection(timeout=within_seconds)
    except (ConnectionTimeout, OutcomeTimeout, LedgerUnavailable, TransferNotFound) as error:
        log.info("%s", error)
        return None


async def _report(handle: Handle, detail: str) -> TransferOutcome | None:
    while True:  # the evidence does not age while the session lives
        try:
            return await handle.report_not_transferred(detail=detail)
        except LedgerUnavailable as error:
            log.warning("The evidence could not be given yet: %s", error)
        except TransferNotFound as error:
            log.warning("%s", error)
            return None
        await asyncio.sleep(REPORT_PAUSE_SECONDS)
