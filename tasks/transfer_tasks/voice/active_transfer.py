"""One transfer as a session lives through it: ask, hold the caller, wait, answer, and give evidence later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
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
from transfer_tasks.voice.evidence import evidence_after_seconds, may_ring_seconds, settle_unknown
from transfer_tasks.voice.withdrawal import withdraw
from transfer_tasks.voice.wording import AnyReason, SessionReason, TransferAnswer, Wording

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.voice.ports import Handle, Publisher
    from transfer_tasks.voice.settings import VoiceSettings

log = logging.getLogger(__name__)

Say = Callable[[str], Awaitable[object]]

SAY_SECONDS: Final = 1.0
"""How long handing over a sentence may take; speaking it takes its own time."""


@dataclass(frozen=True, slots=True)
class _Finding:
    reason: AnyReason
    outcome: TransferOutcome | None = None


class ActiveTransfer:
    """Runs as a task of its own, so that it outlives the tool call that began it.

    ::

        submit ─▶ wait ─▶ say it, answer        beside it: the holding lines
                            │ unknown
                            ▼
                          watch ─┬─ the truth came from elsewhere ─────────────────▶ say it
                                 └─ the longest ring time and the grace are over, ─▶ say it; nothing is asked
                                    and the session is still in the call             again by itself

    Args:
        publisher: Carries the request.
        settings: The session's.
        wording: What is said.
        make_intent: Builds the request, anew for each time it is asked.
        longest_ring_seconds: How long the platform may let such a request ring; None where nobody can say,
            so that presence in the call is never evidence.
        destination: The name that was asked for.
        earlier: The session's last transfer, where its outcome is not known.
        say: Hands a sentence to the caller's ear; None where the framework speaks the answer itself.
    """

    def __init__(
        self,
        publisher: Publisher,
        settings: VoiceSettings,
        wording: Wording,
        *,
        make_intent: Callable[[], TransferIntent],
        longest_ring_seconds: float | None,
        destination: str,
        earlier: ActiveTransfer | None = None,
        say: Say | None,
    ) -> None:
        self.destination = destination
        self.handle: Handle | None = None
        self.withdrawal: asyncio.Task[bool] | None = None
        self.must_withdraw = False
        self.ended_at: float | None = None
        self._publisher, self._settings, self._wording = publisher, settings, wording
        self._make_intent, self._say = make_intent, say
        self._longest_ring_seconds = longest_ring_seconds
        self._has_earlier = earlier is not None
        self._earlier_handle = earlier.handle if earlier is not None else None
        self._left_open: list[Handle] = []
        if earlier is not None and earlier.must_withdraw and earlier.destination == destination:
            # The same request again: if the last one did reach the queue, it is the one that is meant now.
            self._left_open = earlier.open_handles()
            if earlier.withdrawal is not None:
                earlier.withdrawal.cancel()
        self._has_asked = asyncio.Event()
        self._may_ask_once_more = settings.session_evidence and settings.session_evidence_retry
        self._latest: TransferAnswer | None = None
        self._watch: asyncio.Task[None] | None = None
        self.task = self._start()

    def answer(self) -> TransferAnswer:
        """Return what came of it, once the task is done."""
        if self.task.cancelled():
            return self._answer(SessionReason.SESSION_ENDED)
        if self.task.exception() or self._latest is None:
            return self._answer(SessionReason.INTERNAL_ERROR)
        return self._latest

    def is_watched(self) -> bool:
        """Whether the outcome is unknown, and the session looks for the truth."""
        return self._watch is not None and not self._watch.done()

    def may_ring(self) -> bool:
        """Whether the platform has accepted the request, and the target may be ringing."""
        if self.ended_at is None or self.answer().state is not State.SUBMITTED:
            return False
        return _now() - self.ended_at < may_ring_seconds(self._settings, self._longest_ring_seconds)

    def is_settled(self) -> bool:
        """Whether nothing is left to find out."""
        return self.task.done() and self.answer().state is not State.UNKNOWN

    async def stop(self) -> None:
        """Stop waiting and speaking; what has been asked for stays asked for, and `handle` tells of it."""
        if self._watch is not None:
            self._watch.cancel()
        if not self.task.done():
            # A submission that is cut off would leave open whether it is queued; it has its own time budget.
            asked = asyncio.ensure_future(self._has_asked.wait())
            await asyncio.wait({asked, self.task}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            self.task.cancel()

    def open_handles(self) -> list[Handle]:
        """Return every request that may have been queued, the newest last."""
        handles = [*self._left_open, self.handle] if self.handle else self._left_open
        return [*{handle.transfer_id: handle for handle in handles}.values()]

    async def withdraw(self, *, detail: str) -> bool:
        """Cancel what has not been sent, however long Redis is away; say whether all of it is cancelled."""
        return all(await asyncio.gather(*(withdraw(one, detail=detail) for one in self.open_handles())))

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
                await asyncio.sleep(max(0.0, ended_at + notice_seconds - _now()))
                await self.handle.report_transferred(
                    detail="the session ended after the request was sent: moved, or hung up"
                )
        except (LedgerUnavailable, OutcomeTimeout, TransferNotFound) as error:
            log.warning("What became of transfer %s is open: %s", self.handle.transfer_id, error)

    @property
    def _patience_seconds(self) -> float:
        return self._settings.expires_in_seconds + ENDING_MARGIN_SECONDS

    def _start(self) -> asyncio.Task[None]:
        self.ended_at = None
        task = asyncio.create_task(self._run(), name=f"transfer-to-{self.destination}")
        task.add_done_callback(self._note_end)
        return task

    async def _run(self) -> None:
        holding = asyncio.create_task(self._hold())
        try:
            finding = await self._ask()
        finally:
            self._has_asked.set()
            holding.cancel()
        await self._tell(finding)
        if (
            self.handle
            and self._wording.phrase(finding.reason).state is State.UNKNOWN
            and not self.must_withdraw
        ):
            self._watch = asyncio.create_task(self._watch_unknown(self.handle))

    async def _tell(self, finding: _Finding) -> None:
        answer = self._latest = self._answer(finding.reason, finding.outcome)
        if answer.phrase.say and await self._speak(answer.phrase.say):
            self._latest = replace(answer, was_said=True)

    async def _ask(self) -> _Finding:
        self._has_asked.clear()
        try:
            intent = self._make_intent()
        except InvalidIntent as error:
            return self._refuse(error)
        try:
            self.handle = await self._publisher.submit(intent)
        except InvalidIntent as error:
            return self._refuse(error)
        except (TransferInProgress, IdempotencyConflict):
            return _Finding(Reason.TRANSFER_IN_PROGRESS)
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
        self._has_asked.set()
        return await self._await_outcome(self.handle)

    def _refuse(self, error: InvalidIntent) -> _Finding:
        log.error("The request is wrong: %s", error)
        return _Finding(SessionReason.INVALID_REQUEST)

    def _follow(self, intent: TransferIntent) -> _Finding:
        """Keep hold of a request that may be queued."""
        self.handle = self._publisher.handle(intent.transfer_id)
        self.must_withdraw = True
        return _Finding(SessionReason.QUEUE_SILENT)

    def _find_earlier(self) -> _Finding:
        """Return what is true when nothing new was asked for: an earlier request may still be carried out."""
        if not self._has_earlier:
            return _Finding(SessionReason.QUEUE_UNAVAILABLE)
        self.handle, self.must_withdraw = self._earlier_handle, bool(self._left_open)
        return _Finding(SessionReason.QUEUE_SILENT if self.must_withdraw else SessionReason.OUTCOME_NOT_KNOWN)

    async def _await_outcome(self, handle: Handle) -> _Finding:
        try:
            outcome = await handle.outcome(timeout=self._patience_seconds)
        except (OutcomeTimeout, LedgerUnavailable, TransferNotFound) as error:
            log.warning("%s", error)
            return _Finding(SessionReason.OUTCOME_NOT_KNOWN)
        return _Finding(outcome.reason, outcome)

    async def _watch_unknown(self, handle: Handle) -> None:
        after_seconds = evidence_after_seconds(self._settings, self._longest_ring_seconds)
        outcome = await settle_unknown(handle, after_seconds=after_seconds)
        if outcome is None:
            return
        if outcome.reason is Reason.NOT_TRANSFERRED and self._may_ask_once_more:
            log.warning("Asking once more, as TRANSFER_SESSION_EVIDENCE_RETRY says")
            self._may_ask_once_more = False
            self.task = self._start()
        else:
            await self._tell(_Finding(outcome.reason, outcome))

    async def _hold(self) -> None:
        patience_seconds = self._settings.holding_after_seconds
        for line in self._wording.holding:
            await asyncio.sleep(patience_seconds)
            await self._speak(line)
            patience_seconds = self._settings.holding_every_seconds

    async def _speak(self, text: str) -> bool:
        if self._say is None:
            return False
        try:
            async with asyncio.timeout(SAY_SECONDS):
                await self._say(text)
        except Exception:  # a framework's code: whatever it raises, the answer must get through
            log.warning("A sentence could not be spoken", exc_info=True)
            return False
        return True

    def _answer(self, reason: AnyReason, outcome: TransferOutcome | None = None) -> TransferAnswer:
        return TransferAnswer(
            reason=reason,
            phrase=self._wording.phrase(reason),
            transfer_id=self.handle.transfer_id if self.handle else "",
            outcome=outcome,
        )

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("A transfer failed inside the session", exc_info=error)
        self.ended_at = _now()


def _now() -> float:
    """Return the loop's monotonic time."""
    return asyncio.get_running_loop().time()
