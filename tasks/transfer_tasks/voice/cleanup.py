"""What sessions leave to be done after their end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.voice.loop_time import loop_time
from transfer_tasks.voice.room import tell

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from transfer_tasks.connection import ConnectionReport
    from transfer_tasks.voice.active_transfer import ActiveTransfer
    from transfer_tasks.voice.ports import Publisher
    from transfer_tasks.voice.session import TransferSession

log = logging.getLogger(__name__)

STOP_NOTICE_SECONDS: Final = 2.0
"""How long after a session's end it counts as evidence: a process that is being stopped is gone by then."""


class SessionCleanup:
    """What sessions leave to be done after their end; shared by all sessions of a process.

    Attributes:
        is_closed: Whether their client is closed, so that nothing can be asked for any more.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._sessions: set[TransferSession] = set()
        self._have_all_left = asyncio.Event()
        self._have_all_left.set()
        self._withdrawals: set[asyncio.Task[Any]] = set()
        self._evidence: set[asyncio.Task[Any]] = set()
        self._reports: set[asyncio.Task[Any]] = set()

    def join(self, session: TransferSession) -> None:
        """Note that a session has begun."""
        self._sessions.add(session)
        self._have_all_left.clear()

    def leave(self, session: TransferSession) -> None:
        """Note that a session has ended."""
        self._sessions.discard(session)
        if not self._sessions:
            self._have_all_left.set()

    def withdraw(self, active: ActiveTransfer, *, detail: str) -> asyncio.Task[bool]:
        """Cancel an active transfer's request if it has not been sent."""
        return _start(self._withdrawals, active.request.withdraw(detail=detail))

    def watch(self, active: ActiveTransfer, *, ended_at: float) -> None:
        """Report an active transfer's request as carried out if its answer is lost: the session has ended."""
        report = active.request.report_transferred(ended_at=ended_at, notice_seconds=STOP_NOTICE_SECONDS)
        _start(self._evidence, report)

    def settle(self, active: ActiveTransfer, *, is_evidence: bool) -> asyncio.Task[None]:
        """Do what a session's end asks for: withdraw what has not been sent, watch what has."""
        return _start(self._withdrawals, self._settle(active, is_evidence=is_evidence))

    def report(self, publisher: Publisher, report: ConnectionReport) -> None:
        """Put on record what the platform says of a transfer."""
        _start(self._reports, tell(publisher, report))

    async def close(self, *, within_seconds: float) -> None:
        """Wait for withdrawals and reports. The end of a process is not evidence: nobody is watched then."""
        self.is_closed = True
        for task in self._evidence:
            task.cancel()
        try:
            async with asyncio.timeout(within_seconds):
                await self._have_all_left.wait()
                while background := self._withdrawals | self._reports:
                    await asyncio.wait(background)
        except TimeoutError:
            log.warning(
                "Closed with %d sessions, %d withdrawals", len(self._sessions), len(self._withdrawals)
            )
        for task in self._withdrawals | self._evidence | self._reports:
            task.cancel()

    async def _settle(self, active: ActiveTransfer, *, is_evidence: bool) -> None:
        ended_at = loop_time()
        await active.stop()
        is_withdrawn = await active.request.withdraw(detail="the session ended")
        if is_evidence and not is_withdrawn:
            self.watch(active, ended_at=ended_at)


def _start(tasks: set[asyncio.Task[Any]], coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task that nobody else holds."""
    task = asyncio.create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task
