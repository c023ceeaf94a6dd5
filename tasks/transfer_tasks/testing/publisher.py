"""A publisher that records what is asked, and answers from a script; and the transfers that it accepts."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from transfer_tasks.connection import (
    Connection,
    ConnectionReason,
    ConnectionStatus,
    ReportResult,
    ReportSource,
    ReportVerdict,
)
from transfer_tasks.errors import (
    ConnectionTimeout,
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    TransferInProgress,
    TransferNotFound,
)
from transfer_tasks.outcome import GUIDE, Reason, State, TransferOutcome
from transfer_tasks.testing.endings import ending
from transfer_tasks.voice.loop_time import loop_time

if TYPE_CHECKING:
    from transfer_tasks.connection import ConnectionReport
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.testing.endings import ScriptedEnding


LOOK_SECONDS = 1.0
"""How often a waiting handle looks whether Redis is back."""


class RecordingPublisher:
    """A fake of `AsyncTransferPublisher`: records what is asked, and answers from a script.

    Like the ledger, it knows one open transfer a call: the same request again is a repeat, another
    destination is refused; and so it is as long as a transfer's outcome is unknown.

    Args:
        script: For each new transfer, how it ends, or the error that submitting it raises. When it is used
            up, every transfer is submitted at once.

    Attributes:
        intents: Every request that was put to it, in order; also those that a script refused.
        handles: The transfers that were accepted, in order.
        reports: What was reported of connections, in order.
        is_reachable: Set it to False, and everything fails as it does while Redis is away.
        is_closed: Whether `close` was called.
    """

    def __init__(self, *script: ScriptedEnding | Exception) -> None:
        self.intents: list[TransferIntent] = []
        self.handles: list[RecordedTransfer] = []
        self.reports: list[ConnectionReport] = []
        self.is_reachable = True
        self.is_closed = False
        self._script = list(script)

    def script(self, *endings: ScriptedEnding | Exception) -> None:
        """Say how the next transfers end, after those of the script so far."""
        self._script += endings

    async def check(self, intent: TransferIntent) -> None:
        """Object to nothing: what is asked is judged by `submit`."""

    async def submit(self, intent: TransferIntent) -> RecordedTransfer:
        """Record a request, and accept it unless the script says otherwise."""
        self.intents.append(intent)
        if not self.is_reachable:
            raise PublishUnavailable(transfer_id=intent.transfer_id, cause="not reachable")
        last = next((handle for handle in reversed(self.handles) if handle.call_id == intent.call_id), None)
        if last is not None and last.state_now() in {State.WAITING, State.SENDING, State.UNKNOWN}:
            if last.intent.destination_digest() == intent.destination_digest():
                return last
            raise TransferInProgress(
                call_id=intent.call_id, transfer_id=last.transfer_id, state=last.state_now()
            )
        scripted = self._script.pop(0) if self._script else ending(Reason.ACCEPTED_BY_PLATFORM)
        if isinstance(scripted, Exception):
            raise scripted
        hop = 1 + sum(handle.call_id == intent.call_id for handle in self.handles)
        self.handles.append(RecordedTransfer(self, intent, scripted, hop=hop))
        if scripted.loses_answer:
            self.is_reachable = False
            raise PublishOutcomeUnknown(transfer_id=intent.transfer_id, cause="the answer is lost")
        return self.handles[-1]

    def handle(self, transfer_id: str) -> RecordedTransfer:
        """Return the transfer of this id, or one that nobody knows."""
        for handle in self.handles:
            if handle.transfer_id == transfer_id:
                return handle
        intent = next(intent for intent in self.intents if intent.transfer_id == transfer_id)
        return RecordedTransfer(self, intent, None, hop=1)

    async def report_connection(self, report: ConnectionReport) -> ReportResult:
        """Record what is reported."""
        if not self.is_reachable:
            raise LedgerUnavailable("not reachable")
        self.reports.append(report)
        return ReportResult(verdict=ReportVerdict.UNMATCHED)

    async def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True


class RecordedTransfer:
    """A fake of `AsyncTransferHandle`.

    Attributes:
        intent: What was asked.
        reports: The evidence that the session gave: ``transferred`` or ``not_transferred``.
        was_cancelled: Whether it was withdrawn in time.
        connection_now: What was said of the connection so far.
        submitted_at: When it was asked for, by the event loop's clock.
    """

    def __init__(
        self,
        publisher: RecordingPublisher,
        intent: TransferIntent,
        scripted: ScriptedEnding | None,
        *,
        hop: int,
    ) -> None:
        self.intent = intent
        self.reports: list[str] = []
        self.was_cancelled = False
        self._publisher = publisher
        self._hop = hop
        self._scripted = scripted
        self._settled: TransferOutcome | None = None
        self._has_settled = asyncio.Event()
        self.connection_now: Connection | None = None
        self._has_report = asyncio.Event()
        self.submitted_at = loop_time()

    @property
    def transfer_id(self) -> str:
        """The transfer's id."""
        return self.intent.transfer_id

    @property
    def call_id(self) -> str:
        """The call's id."""
        return self.intent.call_id

    def state_now(self) -> State:
        """Return where it stands."""
        if self._settled is not None:
            return self._settled.state
        scripted = self._known()
        age_seconds = self._age_seconds()
        if age_seconds < scripted.unsent_seconds:
            return State.WAITING
        return State.SENDING if age_seconds < scripted.after_seconds else GUIDE[scripted.reason].state

    async def outcome(self, timeout: float | None = None) -> TransferOutcome:  # noqa: ASYNC109 - as the real one
        """Wait for the scripted ending."""
        give_up_at = math.inf if timeout is None else loop_time() + timeout
        was_read = False
        while self._settled is None:
            was_read = was_read or self._publisher.is_reachable
            left_seconds = self._known().after_seconds - self._age_seconds()
            if left_seconds <= 0 and self._publisher.is_reachable:
                self._settle(self._known().reason, source="worker")
            elif (patience_seconds := give_up_at - loop_time()) <= 0:
                raise OutcomeTimeout(
                    transfer_id=self.transfer_id,
                    state=self.state_now(),
                    waited_seconds=timeout or 0.0,
                    was_read=was_read,
                )
            else:
                next_look = left_seconds if 0 < left_seconds < LOOK_SECONDS else LOOK_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(next_look, patience_seconds)):
                        await self._has_settled.wait()
        assert self._settled is not None  # noqa: S101 - narrows the type
        return self._settled

    async def connection(self, timeout: float | None = None) -> Connection | None:  # noqa: ASYNC109 - as the real one
        """Wait for the scripted word of the platform, or for one that a test reports."""
        give_up_at = math.inf if timeout is None else loop_time() + timeout
        outcome = await self.outcome(timeout)
        if outcome.state not in {State.SUBMITTED, State.UNKNOWN}:
            return None
        scripted = self._known()
        left_seconds = math.inf
        if scripted.connection is not None:
            left_seconds = max(0.0, scripted.rings_seconds - self._age_seconds())
        patience_seconds = min(left_seconds, give_up_at - loop_time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if patience_seconds == math.inf else patience_seconds):
                await self._has_report.wait()
        if self.connection_now is None and patience_seconds == left_seconds and scripted.connection:
            self.report(scripted.connection)
        if self.connection_now is None:
            raise ConnectionTimeout(
                transfer_id=self.transfer_id, is_ringing=False, waited_seconds=timeout or 0.0
            )
        return self.connection_now

    def report(
        self,
        said: ConnectionStatus | ConnectionReason,
        *,
        caller_gone: bool = False,
        source: ReportSource = ReportSource.ROOM,
    ) -> None:
        """Let somebody say whether anybody picked up; the first word stands."""
        reason = said if isinstance(said, ConnectionReason) else None
        status = said if isinstance(said, ConnectionStatus) else ConnectionStatus.NOT_CONNECTED
        self.connection_now = self.connection_now or Connection(
            status=status,
            reason=reason,
            caller_gone=caller_gone or reason is ConnectionReason.CALLER_GONE,
            source=source,
        )
        self._has_report.set()

    async def cancel(self, *, detail: str = "") -> bool:
        """Withdraw it, if the script still lets it."""
        self._reach_ledger()
        if self.state_now() is State.WAITING:
            self._settle(Reason.CANCELLED_BY_SESSION, source="session", detail=detail)
            self.was_cancelled = True
        return self.was_cancelled

    async def report_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Record the evidence, and believe it where the outcome is unknown."""
        return self._believe("transferred", Reason.TRANSFER_CONFIRMED, detail)

    async def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Record the evidence, and believe it where the outcome is unknown."""
        return self._believe("not_transferred", Reason.NOT_TRANSFERRED, detail)

    def settle(self, reason: Reason) -> None:
        """Let the truth come from elsewhere: a late answer of the platform, or an engineer."""
        self._settle(reason, source="operator")

    def _believe(self, report: str, reason: Reason, detail: str) -> TransferOutcome | None:
        self._reach_ledger()
        self.reports.append(report)
        if self.state_now() is State.UNKNOWN:
            self._settle(reason, source="session", detail=detail)
        return self._settled

    def _reach_ledger(self) -> None:
        if not self._publisher.is_reachable:
            raise LedgerUnavailable("not reachable", may_have_happened=False)

    def _known(self) -> ScriptedEnding:
        if self._scripted is None:
            raise TransferNotFound(self.transfer_id)
        return self._scripted

    def _age_seconds(self) -> float:
        # 5.6 - 3.6 is less than 2, by so little that a clock that jumps does not move.
        return round(loop_time() - self.submitted_at, 6)

    def _settle(self, reason: Reason, *, source: str, detail: str = "") -> None:
        sent = reason not in {Reason.CANCELLED_BY_SESSION, Reason.DEADLINE_PASSED}
        self._settled = TransferOutcome(
            transfer_id=self.transfer_id,
            call_id=self.call_id,
            state=GUIDE[reason].state,
            reason=reason,
            attempts=int(sent),
            hop=self._hop,
            source=source,
            detail=detail,
        )
        self._has_settled.set()
