"""One transfer as a session lives through it: ask, hold the caller, wait, bear witness, perhaps ask again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

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
from transfer_tasks.voice.wording import AnyReason, SessionReason, TransferAnswer, Wording

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.voice.settings import VoiceSettings

log = logging.getLogger(__name__)

Say = Callable[[str], Awaitable[object]]

ENDING_MARGIN_SECONDS: Final = 15.0
"""How long after its deadline a transfer that was sent in time may still take to end."""

SAY_SECONDS: Final = 1.0
"""How long handing over a sentence may take; speaking it takes its own time."""

WITHDRAW_SECONDS: Final = 60.0
WITHDRAW_PAUSE_SECONDS: Final = 0.25


class Handle(Protocol):
    """What a session needs of `AsyncTransferHandle`."""

    @property
    def transfer_id(self) -> str: ...  # noqa: D102 - as in AsyncTransferHandle, and so below
    async def outcome(self, timeout: float | None = None) -> TransferOutcome: ...  # noqa: ASYNC109, D102
    async def cancel(self, *, detail: str = "") -> bool: ...  # noqa: D102
    async def report_transferred(self, *, detail: str = "") -> TransferOutcome | None: ...  # noqa: D102
    async def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None: ...  # noqa: D102


class Publisher(Protocol):
    """What a session needs of `AsyncTransferPublisher`."""

    async def submit(self, intent: TransferIntent) -> Handle: ...  # noqa: D102 - as in AsyncTransferPublisher
    def handle(self, transfer_id: str) -> Handle: ...  # noqa: D102
    async def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Finding:
    reason: AnyReason
    outcome: TransferOutcome | None = None


class Flight:
    """Runs as a task of its own, so that it outlives the tool call that began it.

    ::

        submit ─▶ wait ─▶ ended ────────────────────────────────▶ say it, answer
                    │       ▲
                    │ unknown: grace time, session still there: report_not_transferred, ask once more
                    └──────▶┘
        and beside it, until it ends: the holding lines

    Args:
        publisher: Carries the request.
        settings: The session's.
        wording: What is said.
        make_intent: Builds the request, anew for each time it is asked.
        destination: The name that was asked for.
        say: Hands a sentence to the caller's ear; None where the framework speaks the answer itself.
    """

    def __init__(
        self,
        publisher: Publisher,
        settings: VoiceSettings,
        wording: Wording,
        *,
        make_intent: Callable[[], TransferIntent],
        destination: str,
        say: Say | None,
    ) -> None:
        self.destination = destination
        self.handle: Handle | None = None
        self.must_withdraw = False
        self.ended_at: float | None = None
        self._publisher, self._settings, self._wording = publisher, settings, wording
        self._make_intent, self._say = make_intent, say
        self._has_asked = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"transfer-to-{destination}")
        self.task.add_done_callback(self._note_end)

    def answer(self) -> TransferAnswer:
        """Return what came of it, once the task is done."""
        if self.task.cancelled():
            return self._answer(SessionReason.SESSION_ENDED)
        if self.task.exception():
            return self._answer(SessionReason.INTERNAL_ERROR)
        return self.task.result()

    def is_settled(self) -> bool:
        """Whether nothing is left to find out."""
        return self.task.done() and self.answer().state is not State.UNKNOWN

    async def stop(self) -> None:
        """Stop waiting and speaking; what has been asked for stays asked for, and `handle` tells of it."""
        if not self.task.done():
            # A submission that is cut off would leave open whether it is queued; it has its own time budget.
            asked = asyncio.ensure_future(self._has_asked.wait())
            await asyncio.wait({asked, self.task}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            self.task.cancel()

    async def withdraw(self, *, detail: str) -> bool:
        """Cancel what has not been sent, however long Redis is away; say whether it is cancelled.

        A request whose answer was lost may reach the ledger late: so a missing record is looked for again.
        """
        if self.handle is None:
            return True
        give_up_at = _now() + WITHDRAW_SECONDS
        while True:
            try:
                return await self.handle.cancel(detail=detail)
            except (LedgerUnavailable, TransferNotFound) as error:
                if _now() >= give_up_at:
                    log.warning("Transfer %s could not be withdrawn: %s", self.handle.transfer_id, error)
                    return isinstance(error, TransferNotFound)
            await asyncio.sleep(WITHDRAW_PAUSE_SECONDS)

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
                await self.handle.report_transferred(detail="the session ended after the request was sent")
        except (LedgerUnavailable, OutcomeTimeout, TransferNotFound) as error:
            log.warning("What became of transfer %s is open: %s", self.handle.transfer_id, error)

    @property
    def _patience_seconds(self) -> float:
        return self._settings.expires_in_seconds + ENDING_MARGIN_SECONDS

    async def _run(self) -> TransferAnswer:
        holding = asyncio.create_task(self._hold())
        try:
            finding = await self._find_out()
        finally:
            self._has_asked.set()
            holding.cancel()
        answer = self._answer(finding.reason, finding.outcome)
        if answer.phrase.say and await self._speak(answer.phrase.say):
            return self._answer(finding.reason, finding.outcome, was_said=True)
        return answer

    async def _find_out(self) -> _Finding:
        finding = await self._ask()
        if (
            finding.reason is Reason.NOT_TRANSFERRED
            and self._settings.witness
            and self._settings.witness_retry
        ):
            log.info("Asking once more: the last transfer was not carried out")
            return await self._ask()
        return finding

    async def _ask(self) -> _Finding:
        self._has_asked.clear()
        try:
            intent = self._make_intent()
            self.handle = await self._publisher.submit(intent)
        except InvalidIntent as error:
            log.error("The request is wrong: %s", error)  # noqa: TRY400 - the text says it all
            return _Finding(SessionReason.INVALID_REQUEST)
        except (TransferInProgress, IdempotencyConflict):
            return _Finding(Reason.TRANSFER_IN_PROGRESS)
        except PublishUnavailable as error:
            log.warning("%s", error)
            return _Finding(SessionReason.QUEUE_UNAVAILABLE)
        except PublishOutcomeUnknown as error:
            log.warning("%s", error)
            self.handle = self._publisher.handle(intent.transfer_id)
            self.must_withdraw = True
            return _Finding(SessionReason.QUEUE_SILENT)
        self._has_asked.set()
        return await self._await_outcome(self.handle)

    async def _await_outcome(self, handle: Handle) -> _Finding:
        try:
            outcome = await handle.outcome(timeout=self._patience_seconds)
            if outcome.state is State.UNKNOWN and self._settings.witness:
                outcome = await self._bear_witness(handle) or outcome
        except (OutcomeTimeout, LedgerUnavailable, TransferNotFound) as error:
            log.warning("%s", error)
            return _Finding(SessionReason.OUTCOME_NOT_KNOWN)
        return _Finding(outcome.reason, outcome)

    async def _bear_witness(self, handle: Handle) -> TransferOutcome | None:
        grace_seconds = self._settings.witness_grace_seconds
        await asyncio.sleep(grace_seconds)  # a session that ends meanwhile cancels us
        return await handle.report_not_transferred(
            detail=f"the session still held the call {grace_seconds:g} s after the outcome became unknown"
        )

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

    def _answer(
        self, reason: AnyReason, outcome: TransferOutcome | None = None, *, was_said: bool = False
    ) -> TransferAnswer:
        return TransferAnswer(
            reason=reason,
            phrase=self._wording.phrase(reason),
            was_said=was_said,
            transfer_id=self.handle.transfer_id if self.handle else "",
            outcome=outcome,
        )

    def _note_end(self, task: asyncio.Task[TransferAnswer]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("A transfer failed inside the session", exc_info=error)
        self.ended_at = _now()


def _now() -> float:
    """Return the loop's monotonic time."""
    return asyncio.get_running_loop().time()
