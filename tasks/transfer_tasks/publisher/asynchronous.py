"""The publisher for event loops: put an intent on the queue, follow it, withdraw it."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from math import floor
from typing import TYPE_CHECKING, Final, TypeVar

from transfer_tasks.errors import (
    ConnectionTimeout,
    IdempotencyConflict,
    InvalidIntent,
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    TransferInProgress,
    TransferNotFound,
)
from transfer_tasks.ledger.async_ledger import AsyncLedger
from transfer_tasks.ledger.verdicts import Ended, Missing, Open
from transfer_tasks.outcome import State
from transfer_tasks.publisher.acceptance import build_accept, with_deadline
from transfer_tasks.publisher.handle import AsyncTransferHandle
from transfer_tasks.publisher.looking import Wait, look_on
from transfer_tasks.publisher.loop_local import LoopLocal, keep_for_ever, leave_to_parent_on_fork
from transfer_tasks.publisher.replies import ReplyListener
from transfer_tasks.publisher.turns import take_turn
from transfer_tasks.redis.connection import connect_async
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from transfer_tasks.connection import Connection, ConnectionReport, ReportResult
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.commands import LedgerCommands
    from transfer_tasks.ledger.script import Command
    from transfer_tasks.ledger.verdicts import Accepted
    from transfer_tasks.outcome import TransferOutcome

log = logging.getLogger(__name__)
T = TypeVar("T")

UNREAD_PATIENCE_SECONDS: Final = 30.0
"""How long a wait without a limit of its own goes on while not even the deadline can be read."""

DELIVERY_MS: Final = 1000
"""How long a request may take to Redis without its deadline coming earlier."""

ENDING_MARGIN_SECONDS: Final = 15.0
"""How long after its deadline a transfer that was sent in time may still take to end."""


RINGING_PATIENCE_SECONDS: Final = 150.0
"""How long after an ending somebody may still pick up: the platform's longest ringing, and a grace."""


class _Line:
    """The connections of one event loop."""

    def __init__(self, settings: PublisherSettings) -> None:
        url, budget = settings.redis_url.get_secret_value(), settings.publish_budget_seconds
        client = connect_async(url, timeout_seconds=budget)
        self.ledger = AsyncLedger(client, retention_seconds=settings.record_ttl_seconds)
        self.replies = ReplyListener(client, channel=self.ledger.keys.reply(secrets.token_urlsafe(16)))
        leave_to_parent_on_fork(self)

    def leave_to_parent(self) -> None:
        self.replies.disown()
        keep_for_ever(self)

    async def close(self) -> None:
        await self.replies.close()
        await self.ledger.close()


class AsyncTransferPublisher:
    """Publishes transfers from an event loop. One per process is enough; it never blocks the loop.

    Each event loop that it is used in has connections of its own, and so has a forked child.

    Args:
        settings: Where Redis is, and the time budget. Read from the environment when not given.

    Use it as an async context manager, or call `close` at the end.
    """

    def __init__(self, settings: PublisherSettings | None = None) -> None:
        self.settings = settings or PublisherSettings.load()
        self._rules = self.settings.load_rules() if self.settings.destinations_file else None
        for seen in self._rules.review_registry() if self._rules else ():
            log.warning("The registry asks for more than the rules allow: %s", seen)
        self._signing_key = self.settings.load_signing_key()
        self._lines = LoopLocal(lambda: _Line(self.settings))

    async def submit(self, intent: TransferIntent) -> AsyncTransferHandle:
        """Put an intent on the queue, in one round trip.

        Returns:
            A handle. "Accepted" is all it says: how the transfer ends is `handle.outcome()`. The same request
            for a call whose transfer is open, or was submitted a moment ago, gives the first one's handle.

        Raises:
            InvalidIntent: The registry, if this side knows it, forbids the destination; nothing is queued.
            TransferInProgress: Another destination is open for this call.
            IdempotencyConflict: The intent's own key, or its id, belongs to other content.
            PublishUnavailable: Redis can't be used; nothing is queued.
            PublishOutcomeUnknown: It may be queued; submitting the same intent object again is safe.
        """
        await take_turn()
        await self.check(intent)
        try:
            accepted = await self._accept(intent)
        except LedgerUnavailable as error:
            kind = PublishOutcomeUnknown if error.may_have_happened else PublishUnavailable
            raise kind(transfer_id=intent.transfer_id, cause=error.cause) from error
        if accepted.verdict == "in_progress":
            raise TransferInProgress(
                call_id=intent.call_id, transfer_id=accepted.transfer_id, state=accepted.state
            )
        if accepted.verdict == "conflict":
            raise IdempotencyConflict(
                idempotency_key=accepted.idempotency_key, transfer_id=accepted.transfer_id
            )
        return AsyncTransferHandle(
            publisher=self,
            transfer_id=accepted.transfer_id,
            idempotency_key=accepted.idempotency_key,
            hop=accepted.hop,
            is_repeat=accepted.verdict == "repeat",
        )

    async def check(self, intent: TransferIntent) -> None:
        """Raise what `submit` would raise without asking Redis.

        Raises:
            InvalidIntent: The registry, if this side knows it, forbids the destination.
        """
        if self._rules and (objection := self._rules.find_objection(intent)):
            raise InvalidIntent(
                field=objection.field,
                value=objection.value,
                problem=objection.problem,
                fix=objection.fix,
            )

    async def _accept(self, intent: TransferIntent) -> Accepted:
        line = self._lines.get()
        clock, asked_at = line.ledger.clock, 0.0

        def build() -> Command[Accepted]:
            nonlocal asked_at
            asked_at = clock.monotonic()
            remaining_ms = floor(intent.remaining_seconds() * 1000)
            return build_accept(
                line.ledger.commands,
                with_deadline(intent, clock.now_ms() + remaining_ms),
                queue=self.settings.queue,
                repeat_window_seconds=self.settings.repeat_window_seconds,
                reply_to=line.replies.channel,
                signing_key=self._signing_key,
                remaining_ms=remaining_ms,
                tolerance_ms=clock.uncertainty_ms + DELIVERY_MS,
            )

        accepted = await line.ledger.run(build, budget_seconds=self.settings.publish_budget_seconds)
        clock.note(accepted.now_ms, asked_at=asked_at, answered_at=clock.monotonic())
        return accepted

    def handle(self, transfer_id: str) -> AsyncTransferHandle:
        """Return a handle on a transfer that was submitted before, here or elsewhere."""
        return AsyncTransferHandle(
            publisher=self, transfer_id=transfer_id, idempotency_key="", hop=0, is_repeat=True
        )

    async def report_connection(self, report: ConnectionReport) -> ReportResult:
        """Put on record what a source says of a request after the platform has accepted it; safe to repeat.

        Raises:
            LedgerUnavailable: No answer came in time; it may be on record.
        """
        return await self.run(self.commands.report_connection(report))

    @property
    def commands(self) -> LedgerCommands:
        """The ledger's commands, while an event loop runs."""
        return self._lines.get().ledger.commands

    async def run(self, command: Command[T]) -> T:
        """Run one ledger step within the time budget.

        Raises:
            LedgerUnavailable: No answer came in time.
        """
        ledger = self._lines.get().ledger
        return await ledger.run(command, budget_seconds=self.settings.publish_budget_seconds)

    async def wait(self, transfer_id: str, *, timeout: float | None) -> TransferOutcome:  # noqa: ASYNC109 - the wait is ours
        """Wait for a transfer's outcome: see `AsyncTransferHandle.outcome`."""
        wait = Wait(UNREAD_PATIENCE_SECONDS if timeout is None else timeout)
        look = self.commands.expire(transfer_id, source="publisher")
        async with contextlib.aclosing(self._look_on(transfer_id, look, wait)) as looks:
            async for seen in looks:
                match seen:
                    case Ended(outcome):
                        return outcome
                    case Missing():
                        raise TransferNotFound(transfer_id)
                    case Open(state=state, remaining_ms=remaining_ms):
                        wait.state = state
                        wait.look_at_deadline(remaining_ms)
                        if timeout is None:
                            timeout = max(0.0, remaining_ms / 1000) + ENDING_MARGIN_SECONDS
                            wait.give_up_at = time.monotonic() + timeout
        raise OutcomeTimeout(
            transfer_id=transfer_id,
            state=wait.state,
            waited_seconds=wait.waited_seconds,
            was_read=wait.was_read,
        )

    async def wait_for_connection(self, transfer_id: str, *, timeout: float | None) -> Connection | None:  # noqa: ASYNC109 - the wait is ours
        """Wait whether anybody picks up: see `AsyncTransferHandle.connection`."""
        started = time.monotonic()
        outcome = await self.wait(transfer_id, timeout=timeout)
        if outcome.state not in {State.SUBMITTED, State.UNKNOWN}:
            return None
        left = RINGING_PATIENCE_SECONDS if timeout is None else timeout - (time.monotonic() - started)
        wait, connection = Wait(left), None
        look = self.commands.read_connection(transfer_id)
        async with contextlib.aclosing(self._look_on(transfer_id, look, wait)) as looks:
            async for seen in looks:
                if isinstance(seen, Missing):
                    raise TransferNotFound(transfer_id)
                connection = seen.connection
                if connection and connection.status.is_final:
                    return connection
                if seen.state not in {State.SUBMITTED, State.UNKNOWN}:
                    return None
        waited_seconds = time.monotonic() - started
        raise ConnectionTimeout(
            transfer_id=transfer_id, is_ringing=connection is not None, waited_seconds=waited_seconds
        )

    def _look_on(self, transfer_id: str, look: Command[T], wait: Wait) -> AsyncGenerator[T]:
        line = self._lines.get()
        budget_seconds = self.settings.publish_budget_seconds
        return look_on(line.ledger, line.replies, transfer_id, look, wait=wait, budget_seconds=budget_seconds)

    async def close(self) -> None:
        """Close every connection of this event loop. Transfers go on without us."""
        if line := self._lines.pop():
            await line.close()

    async def __aenter__(self) -> AsyncTransferPublisher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
