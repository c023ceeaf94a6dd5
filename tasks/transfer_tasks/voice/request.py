"""What a session asks of a publisher to move its call, and what it knows of it afterwards."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import (
    IdempotencyConflict,
    InvalidIntent,
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    TransferInProgress,
    TransferNotFound,
)
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.publisher.asynchronous import ENDING_MARGIN_SECONDS
from transfer_tasks.publisher.turns import take_turn
from transfer_tasks.voice.loop_time import loop_time
from transfer_tasks.voice.withdrawal import withdraw
from transfer_tasks.voice.wording import SessionReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.voice.ports import Handle, Publisher
    from transfer_tasks.voice.wording import AnyReason

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often a waiting request looks whether Redis still answers."""

LOOK_AGAIN_SECONDS: Final = 0.5
"""How long a new request waits for what became of the last one."""

LOST_SECONDS: Final = 6.0
"""How long after the last look that succeeded the caller is told: at most 8 s after Redis went away."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a request, as far as is known."""

    reason: AnyReason
    outcome: TransferOutcome | None = None


class TransferRequest:
    """One request to move a call, as often as it is made.

    Args:
        publisher: Carries it.
        make_intent: Builds it, anew for each time it is made.
        destination: The name that was asked for.
        expires_in_seconds: How long after it was made nobody may send it any more.
        earlier: The session's last request, where its outcome is not known.

    Attributes:
        handle: The transfer; None where nothing was asked for.
        must_withdraw: Whether it may be queued though nobody waits for it any more.
        is_begun: Whether it has been put on its way to the queue, ever.
        is_being_made: Whether it is on its way to the queue just now.
    """

    def __init__(
        self,
        publisher: Publisher,
        make_intent: Callable[[], TransferIntent],
        *,
        destination: str,
        expires_in_seconds: float,
        earlier: TransferRequest | None = None,
    ) -> None:
        self.destination = destination
        self.handle: Handle | None = None
        self.must_withdraw = False
        self.is_begun = self.is_being_made = False
        self.withdrawal: asyncio.Task[bool] | None = None
        self._publisher, self._make_intent = publisher, make_intent
        self._patience_seconds = expires_in_seconds + ENDING_MARGIN_SECONDS
        self._has_earlier = earlier is not None
        self._earlier_handle = earlier.handle if earlier is not None else None
        self._left_open: list[Handle] = []
        self._has_asked = asyncio.Event()
        if earlier is not None and earlier.must_withdraw and earlier.destination == destination:
            # The same request again: if the last one did reach the queue, it is the one that is meant now.
            self._left_open = earlier.open_handles()
            if earlier.withdrawal is not None:
                earlier.withdrawal.cancel()

    async def check(self) -> Finding | None:
        """Return what this process knows against the request before anybody is asked; None if nothing is."""
        await take_turn()
        try:
            await self._publisher.check(self._make_intent())
        except InvalidIntent as error:
            return _refuse(error)
        return None

    async def make(self) -> Finding:
        """Put the request on the queue and wait for its outcome."""
        self.is_begun = self.is_being_made = True
        self._has_asked.clear()
        try:
            finding = await self._submit()
        finally:
            self.is_being_made = False
            self._has_asked.set()
        if finding is not None or self.handle is None:
            return finding or Finding(SessionReason.INTERNAL_ERROR)
        return await self._await_outcome(self.handle)

    async def wait_until_made(self) -> None:
        """Wait until a request that is on its way to the queue has got there, or not."""
        if self.is_being_made:
            await self._has_asked.wait()

    def open_handles(self) -> list[Handle]:
        """Return every request that may have been queued, the newest last."""
        handles = [*self._left_open, self.handle] if self.handle else self._left_open
        return [*{handle.transfer_id: handle for handle in handles}.values()]

    async def withdraw(self, *, detail: str) -> bool:
        """Cancel what has not been sent, however long Redis is away; say whether all of it is cancelled."""
        return all(await asyncio.gather(*(withdraw(one, detail=detail) for one in self.open_handles())))

    async def look_again(self, *, is_wanted: bool) -> Finding | None:
        """Look what became of a request that may have been queued, and for which nobody waits any more.

        Args:
            is_wanted: Whether the same is asked for now; what is not wanted any more is withdrawn.

        Returns:
            What stands in the way of a new request, with its outcome if it has been carried out, or may have
            been; None where nothing does, and where a new request would be a repeat of it.
        """
        if is_wanted and self.withdrawal is not None:
            self.withdrawal.cancel()
            self.withdrawal = None
        for handle in self.open_handles():
            try:
                if not is_wanted and await handle.cancel(detail="another destination was asked for"):
                    continue
                outcome = await handle.outcome(timeout=LOOK_AGAIN_SECONDS)
            except TransferNotFound:
                continue
            except LedgerUnavailable:
                return Finding(SessionReason.QUEUE_SILENT)
            except OutcomeTimeout as error:
                if not error.was_read:
                    return Finding(SessionReason.QUEUE_SILENT)
                if not is_wanted:
                    return Finding(Reason.TRANSFER_IN_PROGRESS)
                continue
            if outcome.state in {State.SUBMITTED, State.UNKNOWN}:
                self.handle, self.must_withdraw, self._left_open = handle, False, []
                return Finding(outcome.reason, outcome)
        return None

    async def report_transferred(self, *, ended_at: float, notice_seconds: float) -> None:
        """Wait for the outcome after the session's end; if it is unknown, that end is the evidence.

        Args:
            ended_at: When the session ended, by the loop's clock.
            notice_seconds: How long after that end the report is held back: a process that is being stopped
                ends its sessions too, and is gone by then.
        """
        if self.handle is None:
            return
        try:
            outcome = await self.handle.outcome(timeout=self._patience_seconds)
            if outcome.state is State.UNKNOWN:
                await asyncio.sleep(max(0.0, ended_at + notice_seconds - loop_time()))
                await self.handle.report_transferred(
                    detail="the session ended after the request was sent: moved, or hung up"
                )
        except (LedgerUnavailable, OutcomeTimeout, TransferNotFound) as error:
            log.warning("What became of transfer %s is open: %s", self.handle.transfer_id, error)

    async def _submit(self) -> Finding | None:
        """Put it on the queue; return what is known already where it did not get there as it should."""
        await take_turn()
        try:
            intent = self._make_intent()
        except InvalidIntent as error:
            return _refuse(error)
        try:
            self.handle = await self._publisher.submit(intent)
        except InvalidIntent as error:
            return _refuse(error)
        except (TransferInProgress, IdempotencyConflict):
            return Finding(Reason.TRANSFER_IN_PROGRESS)
        except PublishUnavailable as error:
            log.warning("%s", error)
            return self._find_earlier()
        except PublishOutcomeUnknown as error:
            log.warning("%s", error)
            return self._follow(intent)
        except Exception:  # a publisher of the team's own: whatever it raises, it may have been asked
            log.exception("Whether transfer %s is queued is not known", intent.transfer_id)
            return self._follow(intent)
        self._left_open = []  # one of them, if any was queued; what comes late is a repeat of it
        return None

    def _follow(self, intent: TransferIntent) -> Finding:
        """Keep hold of a request that may be queued."""
        self.handle = self._publisher.handle(intent.transfer_id)
        self.must_withdraw = True
        return Finding(SessionReason.QUEUE_SILENT)

    def _find_earlier(self) -> Finding:
        """Return what is true when nothing new was asked for: an earlier request may still be carried out."""
        if not self._has_earlier:
            return Finding(SessionReason.QUEUE_UNAVAILABLE)
        self.handle, self.must_withdraw = self._earlier_handle, bool(self._left_open)
        return Finding(SessionReason.QUEUE_SILENT if self.must_withdraw else SessionReason.OUTCOME_NOT_KNOWN)

    async def _await_outcome(self, handle: Handle) -> Finding:
        """Wait until the outcome is due, or Redis has been away for so long that the caller must hear it."""
        lost_at, give_up_at = loop_time() + LOST_SECONDS, loop_time() + self._patience_seconds
        while (left_seconds := min(lost_at, give_up_at) - loop_time()) > 0:
            try:
                outcome = await handle.outcome(timeout=min(LOOK_SECONDS, left_seconds))
            except OutcomeTimeout as error:
                if error.was_read:
                    lost_at = loop_time() + LOST_SECONDS
            except (LedgerUnavailable, TransferNotFound) as error:
                log.warning("%s", error)
                break
            else:
                return Finding(outcome.reason, outcome)
        log.warning("The outcome of transfer %s is not known to its session", handle.transfer_id)
        return Finding(SessionReason.OUTCOME_NOT_KNOWN)


def _refuse(error: InvalidIntent) -> Finding:
    log.error("The request is wrong: %s", error)
    return Finding(SessionReason.INVALID_REQUEST)
