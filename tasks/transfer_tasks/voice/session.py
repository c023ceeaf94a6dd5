"""The transfers of one call: one at a time, and what is left to do about them when the session ends."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from transfer_tasks.outcome import Reason, State
from transfer_tasks.voice.active_transfer import Flight, Say
from transfer_tasks.voice.wording import AnyReason, SessionReason, TransferAnswer, Wording

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from transfer_tasks.voice.choices import Choices
    from transfer_tasks.voice.ports import Publisher
    from transfer_tasks.voice.settings import VoiceSettings

log = logging.getLogger(__name__)

LEAVE_SECONDS: Final = 1.0
"""How long a session's end may wait for its request to be withdrawn; the rest happens in the background."""

STOP_NOTICE_SECONDS: Final = 2.0
"""How long after a session's end it counts as evidence: a process that is being stopped is gone by then."""


class Aftermath:
    """What sessions leave to be done after their end; shared by all sessions of a process."""

    def __init__(self) -> None:
        self._sessions: set[TransferSession] = set()
        self._have_all_left = asyncio.Event()
        self._have_all_left.set()
        self._withdrawals: set[asyncio.Task[Any]] = set()
        self._evidence: set[asyncio.Task[Any]] = set()

    def join(self, session: TransferSession) -> None:
        """Note that a session has begun."""
        self._sessions.add(session)
        self._have_all_left.clear()

    def leave(self, session: TransferSession) -> None:
        """Note that a session has ended."""
        self._sessions.discard(session)
        if not self._sessions:
            self._have_all_left.set()

    def withdraw(self, flight: Flight, *, detail: str) -> asyncio.Task[bool]:
        """Cancel a flight's request if it has not been sent."""
        return _start(self._withdrawals, flight.withdraw(detail=detail))

    def watch(self, flight: Flight, *, ended_at: float) -> None:
        """Report a flight's request as carried out if its answer is lost: the session has ended."""
        report = flight.report_transferred(ended_at=ended_at, notice_seconds=STOP_NOTICE_SECONDS)
        _start(self._evidence, report)

    def settle(self, flight: Flight, *, is_evidence: bool) -> asyncio.Task[None]:
        """Do what a session's end asks for: withdraw what has not been sent, watch what has."""
        return _start(self._withdrawals, self._settle(flight, is_evidence=is_evidence))

    async def close(self, *, within_seconds: float) -> None:
        """Wait for the withdrawals. The end of a process is no evidence: nobody is watched any more."""
        for task in self._evidence:
            task.cancel()
        try:
            async with asyncio.timeout(within_seconds):
                await self._have_all_left.wait()
                while self._withdrawals:
                    await asyncio.wait(set(self._withdrawals))
        except TimeoutError:
            log.warning(
                "Closed with %d sessions, %d withdrawals", len(self._sessions), len(self._withdrawals)
            )
        for task in self._withdrawals | self._evidence:
            task.cancel()

    async def _settle(self, flight: Flight, *, is_evidence: bool) -> None:
        ended_at = _now()
        await flight.stop()
        is_withdrawn = await flight.withdraw(detail="the session ended")
        if is_evidence and not is_withdrawn:
            self.watch(flight, ended_at=ended_at)


def _start(tasks: set[asyncio.Task[Any]], coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start a task that nobody else holds."""
    task = asyncio.create_task(coroutine)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


class TransferSession:
    """The transfers of one call. Made by `TransferClient.session`; use it as an async context manager.

    Leaving it withdraws a request that has not been sent, within `LEAVE_SECONDS`; one that was sent is left
    alone.

    Args:
        call_id: The call, as the platform names it; None where the framework knows none.
        publisher: Carries the requests.
        choices: The destinations on offer.
        settings: How long the caller waits.
        wording: What the caller hears.
        aftermath: Goes on when this session has ended.
    """

    def __init__(
        self,
        call_id: str | None,
        *,
        publisher: Publisher,
        choices: Choices,
        settings: VoiceSettings,
        wording: Wording,
        aftermath: Aftermath,
    ) -> None:
        self.call_id = call_id
        self._publisher, self._choices, self._settings = publisher, choices, settings
        self._wording, self._aftermath = wording, aftermath
        self._flight: Flight | None = None
        self._has_ended = False

    async def transfer(self, destination: str, *, reason: str = "", say: Say | None = None) -> TransferAnswer:
        """Move the call, and return what is true about it. One transfer at a time, however often it is asked.

        Safe to be cancelled (by a caller who interrupts, say): the transfer goes on, and the next call of
        this method joins it.

        Args:
            destination: One of the names on offer.
            reason: What the caller wants, for people to read; cut to what an intent may hold.
            say: Hands a sentence to the caller's ear and returns at once. With it the session speaks the
                holding lines and the answer's own sentence; without it that is up to who gets the answer.
        """
        if self._has_ended:
            return self._answer(SessionReason.SESSION_ENDED)
        if destination not in self._choices:
            return self._answer(SessionReason.NO_SUCH_DESTINATION)
        flight = self._flight
        is_repeat = flight is not None and self._stands(flight)
        if flight is not None and not is_repeat and flight.may_ring():
            return self._answer(Reason.TRANSFER_IN_PROGRESS)
        if flight is None or not is_repeat:
            flight = self._flight = self._take_off(destination, reason=reason, say=say)
        elif flight.destination != destination:
            return self._answer(Reason.TRANSFER_IN_PROGRESS)
        # Unlike awaiting the task, this passes no cancellation on, in neither direction.
        await asyncio.wait({flight.task})
        if flight.must_withdraw and flight.withdrawal is None:
            flight.withdrawal = self._aftermath.withdraw(flight, detail="the queue did not answer in time")
        return replace(flight.answer(), is_repeat=is_repeat)

    async def end(self, *, is_evidence: bool = True) -> None:
        """End the session: what leaving the context manager does.

        Args:
            is_evidence: Whether this end may mean that the platform took the call away.
        """
        if self._has_ended:
            return
        self._has_ended = True
        flight = self._flight
        settling = None
        if flight is not None and not flight.is_settled():
            counts = is_evidence and self._settings.session_evidence
            settling = self._aftermath.settle(flight, is_evidence=counts)
        self._aftermath.leave(self)
        if settling is not None:
            await asyncio.wait({settling}, timeout=LEAVE_SECONDS)

    async def __aenter__(self) -> Self:
        self._aftermath.join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A session that broke says nothing about the call; one that was cancelled lost its caller.
        await self.end(is_evidence=kind is None or issubclass(kind, asyncio.CancelledError))

    def _take_off(self, destination: str, *, reason: str, say: Say | None) -> Flight:
        last = self._flight
        earlier = last if last is not None and not last.is_settled() else None
        return Flight(
            self._publisher,
            self._settings,
            self._wording,
            make_intent=lambda: self._choices[destination].intent(
                self.call_id, reason=reason, expires_in_seconds=self._settings.expires_in_seconds
            ),
            longest_ring_seconds=self._choices.longest_ring_seconds(destination),
            destination=destination,
            earlier=earlier,
            say=say,
        )

    def _stands(self, flight: Flight) -> bool:
        """Whether a flight answers for every request that comes now."""
        if flight.ended_at is None or flight.is_watched():
            return True
        age_seconds = _now() - flight.ended_at
        return flight.answer().state is State.SUBMITTED and age_seconds < self._settings.repeat_window_seconds

    def _answer(self, reason: AnyReason) -> TransferAnswer:
        return TransferAnswer(reason=reason, phrase=self._wording.phrase(reason))


def _now() -> float:
    """Return the loop's monotonic time."""
    return asyncio.get_running_loop().time()
