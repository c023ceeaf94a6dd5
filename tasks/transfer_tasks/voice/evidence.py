"""What a session that is still in the call may say about a transfer whose outcome is unknown, and when."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import LedgerUnavailable, OutcomeTimeout, TransferNotFound
from transfer_tasks.outcome import State, TransferOutcome

if TYPE_CHECKING:
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


async def settle_unknown(handle: Handle, *, after_seconds: float) -> TransferOutcome | None:
    """Look for the truth until the session itself is the evidence, then give it. Cancel this when it ends.

    ::

        unknown ──┬── the truth comes from elsewhere (a late answer, an engineer) ──▶ that
                  └── still in the call `after_seconds` later ──▶ report_not_transferred ──▶ what is on record

    Returns:
        What is on record then; None where nothing is.
    """
    evidence_at = _now() + after_seconds
    while (left_seconds := evidence_at - _now()) > 0:
        await asyncio.sleep(min(LOOK_SECONDS, left_seconds))
        with contextlib.suppress(OutcomeTimeout, LedgerUnavailable, TransferNotFound):
            outcome = await handle.outcome(timeout=LOOK_SECONDS)
            if outcome.state is not State.UNKNOWN:
                return outcome
    return await _report(handle, f"the session held the call for {after_seconds:g} s after it became unknown")


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


def _now() -> float:
    """Return the loop's monotonic time."""
    return asyncio.get_running_loop().time()
