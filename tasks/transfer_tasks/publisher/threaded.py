"""The publisher for threads: the asyncio one on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from os import getpid
from typing import TYPE_CHECKING, Any, TypeVar

from transfer_tasks.publisher.asynchronous import AsyncTransferHandle, AsyncTransferPublisher
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import TransferOutcome

T = TypeVar("T")


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
        """Which transfer of its call this is: its ordinal, from 1."""
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
