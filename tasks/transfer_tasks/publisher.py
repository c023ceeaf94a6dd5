"""Put an intent on the queue, follow it, withdraw it: for event loops, and for threads."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from os import getpid
from typing import TYPE_CHECKING, Any, Final, TypeVar

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
from transfer_tasks.ledger.async_ledger import AsyncLedger
from transfer_tasks.ledger.commands import Command, Ended, Missing, Open
from transfer_tasks.ledger.connection import connect_async
from transfer_tasks.message import build_message
from transfer_tasks.numbers import mask_text
from transfer_tasks.outcome import Reason, TransferOutcome
from transfer_tasks.replies import ReplyListener
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from transfer_tasks.intent import TransferIntent

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often a waiting handle looks at the record, in case a notification was missed."""

UNREAD_PATIENCE_SECONDS: Final = 30.0
"""How long a wait without a limit of its own goes on while not even the deadline can be read."""

LEAST_LOOK_SECONDS: Final = 0.1
"""What a look at the record gets when the caller's patience is over, or was none."""

ENDING_MARGIN_SECONDS: Final = 15.0
"""How long after its deadline a transfer that was sent in time may still take to end."""


class AsyncTransferPublisher:
    """Publishes transfers from an event loop. One per process is enough; it never blocks the loop.

    Args:
        settings: Where Redis is, and the time budget. Read from the environment when not given.

    Use it as an async context manager, or call `close` at the end.
    """

    def __init__(self, settings: PublisherSettings | None = None) -> None:
        self.settings = settings or PublisherSettings.load()
        self._rules = self.settings.load_rules() if self.settings.destinations_file else None
        url, budget = self.settings.redis_url.get_secret_value(), self.settings.publish_budget_seconds
        client = connect_async(url, timeout_seconds=budget)
        self.ledger = AsyncLedger(
            client, namespace="transfer", retention_seconds=self.settings.record_ttl_seconds
        )
        self._replies = ReplyListener(client, channel=self.ledger.keys.reply(uuid.uuid4().hex))

    async def submit(self, intent: TransferIntent) -> AsyncTransferHandle:
        """Put an intent on the queue, in one round trip.

        Returns:
            A handle. "Accepted" is all it says: how the transfer ends is `handle.outcome()`. The same request
            for a call whose transfer is open, or was submitted a moment ago, gives the first one's handle.

        Raises:
            InvalidIntent: The registry, if this side knows it, forbids the destination; nothing is queued.
            TransferInProgress: Another destination is open for this call.
            IdempotencyConflict: The intent's own key belongs to other content.
            PublishUnavailable: Redis can't be used; nothing is queued.
            PublishOutcomeUnknown: It may be queued; submitting the same intent object again is safe.
        """
        if self._rules and (objection := self._rules.find_objection(intent)):
            raise InvalidIntent(
                field=objection.field,
                value=objection.value,
                problem=objection.problem,
                mend=objection.mend,
            )
        try:
            accepted = await self.run(self._accept(intent))
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

    def _accept(self, intent: TransferIntent) -> Command[Any]:
        labels = intent.labels()
        queue = self.settings.queue
        return self.ledger.commands.accept(
            transfer_id=intent.transfer_id,
            call_id=intent.call_id,
            idempotency_key=intent.idempotency_key or "",
            destination_digest=intent.destination_digest(),
            content_digest=intent.content_digest(),
            intent_json=intent.to_json(),
            labels_json=json.dumps(labels),
            message=build_message(
                transfer_id=intent.transfer_id, call_id=intent.call_id, labels=labels, queue=queue
            ),
            queue=queue,
            remaining_ms=intent.remaining_ms(datetime.now(UTC)),
            repeat_window_ms=round(self.settings.repeat_window_seconds * 1000),
            reply_to=self._replies.channel,
            asked_json=json.dumps({"requested_by": intent.requested_by, "asked": mask_text(intent.reason)}),
        )

    def handle(self, transfer_id: str) -> AsyncTransferHandle:
        """Return a handle on a transfer that was submitted before, here or elsewhere."""
        return AsyncTransferHandle(
            publisher=self, transfer_id=transfer_id, idempotency_key="", hop=0, is_repeat=True
        )

    async def run(self, command: Command[T]) -> T:
        """Run one ledger step within the time budget.

        Raises:
            LedgerUnavailable: No answer came in time.
        """
        return await self.ledger.run(command, budget_seconds=self.settings.publish_budget_seconds)

    async def wait(self, transfer_id: str, *, timeout: float | None) -> TransferOutcome:  # noqa: ASYNC109 - the wait is ours
        """Wait for a transfer's outcome: see `AsyncTransferHandle.outcome`."""
        started = time.monotonic()
        state = "unread"
        give_up_at = started + (UNREAD_PATIENCE_SECONDS if timeout is None else timeout)
        budget_seconds = self.settings.publish_budget_seconds
        look = self.ledger.commands.expire(transfer_id, source="publisher")
        async with self._replies.expect(transfer_id) as notification:
            await self._replies.ready(within_seconds=min(LOOK_SECONDS, give_up_at - started))
            while True:
                patience = LOOK_SECONDS
                time_left = max(give_up_at - time.monotonic(), LEAST_LOOK_SECONDS)
                try:
                    seen = await self.ledger.run(look, budget_seconds=min(budget_seconds, time_left))
                except LedgerUnavailable:
                    state = "unreadable (Redis does not answer)"
                else:
                    match seen:
                        case Ended(outcome):
                            return outcome
                        case Missing():
                            raise TransferNotFound(transfer_id)
                        case Open(state=open_state, remaining_ms=remaining_ms):
                            state = open_state
                            patience = _next_look_seconds(remaining_ms)
                            if timeout is None:
                                timeout = max(0.0, remaining_ms / 1000) + ENDING_MARGIN_SECONDS
                                give_up_at = time.monotonic() + timeout
                now = time.monotonic()
                if now >= give_up_at:
                    raise OutcomeTimeout(transfer_id=transfer_id, state=state, waited_seconds=now - started)
                done, _ = await asyncio.wait({notification}, timeout=min(patience, give_up_at - now))
                if done:
                    return notification.result()

    async def close(self) -> None:
        """Close every connection. Transfers go on without us."""
        await self._replies.close()
        await self.ledger.client.aclose()
        await self.ledger.client.connection_pool.disconnect()

    async def __aenter__(self) -> AsyncTransferPublisher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _next_look_seconds(remaining_ms: int) -> float:
    """Look right after the deadline: if no worker is there to say so, we end the transfer ourselves."""
    if remaining_ms <= 0:
        return LOOK_SECONDS
    return min(LOOK_SECONDS, remaining_ms / 1000 + 0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncTransferHandle:
    """One transfer that was accepted.

    Attributes:
        transfer_id: The transfer's id; the same in the audit log and in Flower.
        idempotency_key: What makes it the same transfer; sent to the platform, too.
        hop: The how-many-eth transfer of its call this is, from 1.
        is_repeat: Whether another, earlier intent stands behind this handle.
    """

    publisher: AsyncTransferPublisher
    transfer_id: str
    idempotency_key: str
    hop: int
    is_repeat: bool

    async def outcome(self, timeout: float | None = None) -> TransferOutcome:  # noqa: ASYNC109 - the wait is ours
        """Wait until it is known how the transfer ended.

        Args:
            timeout: In seconds; by default until the deadline and 15 s more, when every ending is due. While
                Redis does not answer at all, 30 s.

        Raises:
            OutcomeTimeout: It is not known yet; the transfer goes on.
            TransferNotFound: The record is gone.
        """
        return await self.publisher.wait(self.transfer_id, timeout=timeout)

    async def cancel(self, *, detail: str = "") -> bool:
        """Withdraw the transfer if it has not been sent; say whether it is cancelled now.

        Raises:
            LedgerUnavailable: Redis did not answer in time; calling again is safe.
            TransferNotFound: The record is gone.
        """
        cancelled, seen = await self.publisher.run(
            self.publisher.ledger.commands.cancel(
                self.transfer_id, reason=Reason.CANCELLED_BY_SESSION, source="session", detail=detail
            )
        )
        if isinstance(seen, Missing):
            raise TransferNotFound(self.transfer_id)
        return cancelled

    async def report_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` transfer: the call has left the session, so the platform carried it out.

        Args:
            detail: What was seen, for the record; no numbers.

        Returns:
            The outcome on record now: another one where the truth came from elsewhere first; None while the
            transfer is open.

        Raises:
            LedgerUnavailable: Redis did not answer in time; calling again is safe.
            TransferNotFound: The record is gone.
        """
        return await self._resolve(transferred=True, detail=detail)

    async def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` transfer: the session still holds the call, so it was not carried out.

        As `report_transferred`. If the outcome's reason is `not_transferred`, asking again is a new transfer.
        """
        return await self._resolve(transferred=False, detail=detail)

    async def _resolve(self, *, transferred: bool, detail: str) -> TransferOutcome | None:
        commands = self.publisher.ledger.commands
        seen = await self.publisher.run(
            commands.resolve(self.transfer_id, transferred=transferred, source="session", detail=detail)
        )
        if isinstance(seen, Missing):
            raise TransferNotFound(self.transfer_id)
        return seen.outcome


class TransferPublisher:
    """Publishes transfers from threads: the asyncio publisher on an event loop of its own thread.

    So both have the same hard time budget. Safe to share among threads, and after a fork.
    """

    def __init__(self, settings: PublisherSettings | None = None) -> None:
        self.settings = settings or PublisherSettings.load()
        self._lock = threading.Lock()
        self._owner_process_id = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._inner: AsyncTransferPublisher | None = None
        # A forked child must neither use nor collect what it got from its parent: closing a connection there
        # would take it out of the parent's epoll set, which both share.
        self._inherited: list[tuple[AsyncTransferPublisher | None, asyncio.AbstractEventLoop | None]] = []

    def submit(self, intent: TransferIntent) -> TransferHandle:
        """Put an intent on the queue: see `AsyncTransferPublisher.submit`."""
        inner = self._start()
        return TransferHandle(publisher=self, inner=self.wait_for(inner.submit(intent)))

    def handle(self, transfer_id: str) -> TransferHandle:
        """Return a handle on a transfer that was submitted before, here or elsewhere."""
        return TransferHandle(publisher=self, inner=self._start().handle(transfer_id))

    def localize(self, handle: AsyncTransferHandle) -> AsyncTransferHandle:
        """Return the handle with this process's own connections; it may come from before a fork."""
        return replace(handle, publisher=self._start())

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the inner publisher; an interrupt (Ctrl-C) cancels it."""
        assert self._loop is not None  # noqa: S101 - whoever made the coroutine has started it
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _start(self) -> AsyncTransferPublisher:
        if self._owner_process_id not in {0, getpid()}:
            self._lock = threading.Lock()  # the parent's may have been held at the moment of the fork
            self._inherited.append((self._inner, self._loop))
            self._inner, self._owner_process_id = None, 0
        with self._lock:
            if self._inner is None:
                self._owner_process_id = getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="transfer-publisher", daemon=True
                )
                self._thread.start()
                self._inner = AsyncTransferPublisher(self.settings)
            return self._inner

    def close(self) -> None:
        """Close every connection. Transfers go on without us."""
        with self._lock:
            inner, loop, thread = self._inner, self._loop, self._thread
            self._inner = None
        if inner is None or loop is None or thread is None or self._owner_process_id != getpid():
            return
        asyncio.run_coroutine_threadsafe(inner.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def __enter__(self) -> TransferPublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferHandle:
    """One transfer that was accepted; see `AsyncTransferHandle`, whose methods these are, blocking."""

    publisher: TransferPublisher
    inner: AsyncTransferHandle

    @property
    def transfer_id(self) -> str:
        """The transfer's id; the same in the audit log and in Flower."""
        return self.inner.transfer_id

    @property
    def idempotency_key(self) -> str:
        """What makes it the same transfer."""
        return self.inner.idempotency_key

    @property
    def hop(self) -> int:
        """The how-many-eth transfer of its call this is, from 1."""
        return self.inner.hop

    @property
    def is_repeat(self) -> bool:
        """Whether another, earlier intent stands behind this handle."""
        return self.inner.is_repeat

    def _here(self) -> AsyncTransferHandle:
        return self.publisher.localize(self.inner)

    def outcome(self, timeout: float | None = None) -> TransferOutcome:
        """Wait until it is known how the transfer ended: see `AsyncTransferHandle.outcome`."""
        return self.publisher.wait_for(self._here().outcome(timeout))

    def cancel(self, *, detail: str = "") -> bool:
        """Withdraw the transfer if it has not been sent: see `AsyncTransferHandle.cancel`."""
        return self.publisher.wait_for(self._here().cancel(detail=detail))

    def report_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` as carried out: see `AsyncTransferHandle.report_transferred`."""
        return self.publisher.wait_for(self._here().report_transferred(detail=detail))

    def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` as not carried out: see `AsyncTransferHandle.report_not_transferred`."""
        return self.publisher.wait_for(self._here().report_not_transferred(detail=detail))
