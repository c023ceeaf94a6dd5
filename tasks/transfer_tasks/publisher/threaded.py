"""The publisher for threads: the asyncio one on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import threading
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from transfer_tasks.publisher.asynchronous import AsyncTransferPublisher
from transfer_tasks.publisher.loop_local import keep_for_ever, leave_to_parent_on_fork
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from transfer_tasks.connection import Connection
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.publisher.handle import AsyncTransferHandle

T = TypeVar("T")

END_SECONDS: Final = 1.0
"""How long the end of a process, or of a publisher that nobody has closed, may wait for its connections."""


class TransferPublisher:
    """Publishes transfers from threads: the asyncio publisher on an event loop of its own thread.

    So both have the same hard time budget. Safe to share among threads, and after a fork. One that nobody
    closes ends with its last reference, or with the process.
    """

    def __init__(self, settings: PublisherSettings | None = None) -> None:
        self.settings = settings or PublisherSettings.load()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._inner: AsyncTransferPublisher | None = None
        self._end: weakref.finalize[..., TransferPublisher] | None = None
        leave_to_parent_on_fork(self)

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
        with self._lock:
            if self._inner is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="transfer-publisher", daemon=True
                )
                self._thread.start()
                self._inner = AsyncTransferPublisher(self.settings)
                self._end = weakref.finalize(self, _end, self._inner, self._loop, self._thread)
            return self._inner

    def close(self) -> None:
        """Close every connection. Transfers go on without us."""
        with self._lock:
            inner, loop, thread = self._inner, self._loop, self._thread
            self._inner = None
        if inner is None or loop is None or thread is None:
            return
        if self._end:
            self._end.detach()
        _stop(inner, loop, thread, within_seconds=None)

    def leave_to_parent(self) -> None:
        """Begin anew: this is a forked child, and the thread is not here."""
        self._lock = threading.Lock()  # the parent's may have been held at that moment
        if self._end:
            self._end.detach()
        if self._loop:
            _blind(self._loop)
        keep_for_ever((self._inner, self._loop, self._thread))
        self._inner = self._loop = self._thread = self._end = None

    def __enter__(self) -> TransferPublisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _blind(loop: asyncio.AbstractEventLoop) -> None:
    """Let nothing that this process ends reach the parent's epoll set."""
    selector = getattr(loop, "_selector", None)  # not in uvloop
    if isinstance(selector, selectors.BaseSelector) and hasattr(selector, "fileno"):
        with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor, not a file
            os.dup2(nothing.fileno(), selector.fileno(), inheritable=False)


def _end(
    inner: AsyncTransferPublisher,
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
) -> None:
    """Close what nobody has closed, within bounds."""
    if thread is threading.current_thread():  # the garbage collector came by there
        loop.stop()
        return
    with contextlib.suppress(Exception):
        _stop(inner, loop, thread, within_seconds=END_SECONDS)


def _stop(
    inner: AsyncTransferPublisher,
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    *,
    within_seconds: float | None,
) -> None:
    """Close the connections, then the loop, waiting so long for either; None for as long as it takes."""
    try:
        asyncio.run_coroutine_threadsafe(inner.close(), loop).result(within_seconds)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(within_seconds)
        if not thread.is_alive():
            loop.close()


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

    def connection(self, timeout: float | None = None) -> Connection | None:
        """Wait whether anybody picks up: see `AsyncTransferHandle.connection`."""
        return self.publisher.wait_for(self._here().connection(timeout))

    def cancel(self, *, detail: str = "") -> bool:
        """Withdraw the transfer if it has not been sent: see `AsyncTransferHandle.cancel`."""
        return self.publisher.wait_for(self._here().cancel(detail=detail))

    def report_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` as carried out: see `AsyncTransferHandle.report_transferred`."""
        return self.publisher.wait_for(self._here().report_transferred(detail=detail))

    def report_not_transferred(self, *, detail: str = "") -> TransferOutcome | None:
        """Settle an `unknown` as not carried out: see `AsyncTransferHandle.report_not_transferred`."""
        return self.publisher.wait_for(self._here().report_not_transferred(detail=detail))
