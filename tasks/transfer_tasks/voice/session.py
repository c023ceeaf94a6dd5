"""The transfers of one call: one at a time, and what is left to do about them when the session ends."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from transfer_tasks.outcome import Reason, State
from transfer_tasks.voice.active_transfer import ActiveTransfer
from transfer_tasks.voice.loop_time import loop_time
from transfer_tasks.voice.request import TransferRequest
from transfer_tasks.voice.room import read_platform_status
from transfer_tasks.voice.speech import Speech
from transfer_tasks.voice.wording import SessionReason, TransferAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from transfer_tasks.voice.choices import Choices
    from transfer_tasks.voice.cleanup import SessionCleanup
    from transfer_tasks.voice.ports import Publisher
    from transfer_tasks.voice.settings import VoiceSettings
    from transfer_tasks.voice.speech import Say
    from transfer_tasks.voice.wording import AnyReason, Wording

log = logging.getLogger(__name__)

LEAVE_SECONDS: Final = 1.0
"""How long a session's end may wait for its request to be withdrawn; the rest happens in the background."""


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
        cleanup: Goes on when this session has ended.
    """

    def __init__(
        self,
        call_id: str | None,
        *,
        publisher: Publisher,
        choices: Choices,
        settings: VoiceSettings,
        wording: Wording,
        cleanup: SessionCleanup,
    ) -> None:
        self.call_id = call_id
        self._publisher, self._choices, self._settings = publisher, choices, settings
        self._wording, self._cleanup = wording, cleanup
        self._speech = Speech(sentence_seconds=settings.announce_seconds)
        self._active: ActiveTransfer | None = None
        self._has_ended = False
        self._looking = asyncio.Lock()

    async def transfer(
        self,
        destination: object,
        *,
        reason: object = "",
        metadata: Mapping[str, Any] | None = None,
        say: Say | None = None,
    ) -> TransferAnswer:
        """Move the call, and return what is true about it. One transfer at a time, however often it is asked.

        Safe to be cancelled (by a caller who interrupts, say): the transfer goes on, and the next call of
        this method joins it.

        Args:
            destination: What the model gave for one of the names on offer.
            reason: What the model gave for what the caller wants, for people to read; cut to what an intent
                may hold.
            metadata: What whoever takes over is to know of this call: flat values, which travel to the
                platform beside the choice's own. What can't be handed over is left out, and logged.
            say: Hands a sentence to the caller's ear and returns at once: nothing, or an awaitable that is
                done when the sentence has been heard. With it the session speaks for itself; without
                it, what is to be said is in the answer, for the model.
        """
        if self._has_ended or self._cleanup.is_closed:
            return await self._refuse_late(say)
        name = self._choices.find(destination)
        if name is None:
            return self._answer(SessionReason.NO_SUCH_DESTINATION, offered=self._choices.describe())
        if (in_the_way := await self._look_again(name, say)) is not None:
            return in_the_way
        active = self._active
        is_repeat = active is not None and self._stands(active)
        if active is not None and (active.destination != name if is_repeat else active.may_ring()):
            return self._answer(Reason.TRANSFER_IN_PROGRESS, destination=active.destination)
        if active is None or not is_repeat:
            active = self._active = self._start_transfer(name, reason=reason, metadata=metadata, say=say)
        elif active.task.done():
            return await active.answer_again(say)
        else:
            await active.reassure()
        # Unlike awaiting the task, this passes no cancellation on, in neither direction.
        await asyncio.wait({active.task})
        self._withdraw_if_silent(active)
        return replace(active.answer(), is_repeat=is_repeat)

    async def cancel(self, *, say: Say | None = None) -> TransferAnswer:
        """Take back what has not left for the platform, and return what is true then.

        Args:
            say: As for `transfer`.
        """
        active = self._active
        if self._has_ended or active is None:
            return self._answer(SessionReason.NOTHING_TO_CANCEL)
        return await self._speech.tell(say, await self._cancel(active))

    def note_speech(self) -> None:
        """Note that somebody speaks, or has just stopped: the caller, the model, anybody.

        For adapters of frameworks. The session breaks long silences itself; after its answer it does so only
        if it is told of the others' speech.
        """
        self._speech.report()

    def platform_status(self, message: object) -> None:
        """Take what the platform says of a transfer in the call's room: its target rings, or how it ended.

        It goes on record in the background, also after the session's end, and moves nothing; a caller whom
        nobody was connected with hears why. Any other message is left alone. For the session's own loop.

        Args:
            message: As it came (bytes, text, a mapping), or a framework's object with the same fields. Only
                what the platform itself has sent: a participant's packet proves nothing.
        """
        report = read_platform_status(message, call_id=self.call_id)
        if report is not None:
            self._cleanup.report(self._publisher, report)

    async def end(self, *, is_evidence: bool = True) -> None:
        """End the session: what leaving the context manager does.

        Args:
            is_evidence: Whether this end may mean that the platform took the call away.
        """
        if self._has_ended:
            return
        self._has_ended = True
        active = self._active
        settling = None
        if active is not None:
            active.hush()
        if active is not None and not active.is_settled():
            counts = is_evidence and self._settings.session_evidence
            settling = self._cleanup.settle(active, is_evidence=counts)
        self._cleanup.leave(self)
        if settling is not None:
            await asyncio.wait({settling}, timeout=LEAVE_SECONDS)

    async def __aenter__(self) -> Self:
        self._cleanup.join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A session that broke says nothing about the call; one that was cancelled lost its caller.
        await self.end(is_evidence=kind is None or issubclass(kind, asyncio.CancelledError))

    async def _look_again(self, destination: str, say: Say | None) -> TransferAnswer | None:
        """Learn what became of a request that may be queued; return the answer if it stands in the way."""
        async with self._looking:
            active = self._active
            if active is None or not active.task.done() or not active.request.must_withdraw:
                return None
            finding = await active.request.look_again(is_wanted=active.destination == destination)
            if finding is None:
                return None
            if finding.outcome is not None:
                await active.learn(finding)
                return None
            self._withdraw_if_silent(active)
        return await self._speech.tell(say, self._answer(finding.reason, destination=active.destination))

    def _withdraw_if_silent(self, active: ActiveTransfer) -> None:
        request = active.request
        if request.must_withdraw and request.withdrawal is None:
            request.withdrawal = self._cleanup.withdraw(active, detail="the queue did not answer in time")

    async def _cancel(self, active: ActiveTransfer) -> TransferAnswer:
        if await active.call_off():
            return self._call_off(active)
        is_open = not active.task.done() or active.is_watched() or active.may_ring()
        if not is_open and not active.request.must_withdraw:
            return self._answer(SessionReason.NOTHING_TO_CANCEL)
        withdrawal = active.request.withdrawal or self._cleanup.withdraw(
            active, detail="the caller changed their mind"
        )
        await asyncio.wait({withdrawal}, timeout=LEAVE_SECONDS)
        if not withdrawal.done() or withdrawal.cancelled():
            return self._answer(SessionReason.QUEUE_SILENT, destination=active.destination)
        if not withdrawal.result():
            return self._answer(SessionReason.TOO_LATE_TO_CANCEL, destination=active.destination)
        await asyncio.wait({active.task})
        return self._call_off(active)

    def _call_off(self, active: ActiveTransfer) -> TransferAnswer:
        phrase = self._wording.phrase(Reason.CANCELLED_BY_SESSION)
        phrase = self._wording.called_off(phrase, active.destination)
        return self._answer(
            Reason.CANCELLED_BY_SESSION, phrase=phrase, to_say=phrase.say, destination=active.destination
        )

    async def _refuse_late(self, say: Say | None) -> TransferAnswer:
        """Answer whoever asks when the session is over: to somebody who is still there, perhaps."""
        log.error(
            "A transfer was asked for in a session that is over, call %s. Does its agent go on after `async "
            "with`, as LiveKit's does, whose start() returns at once? Then leave the `async with` out, and "
            "call session.end() when the call ends.",
            self.call_id,
        )
        return await self._speech.tell(say, self._answer(SessionReason.SESSION_CLOSED))

    def _start_transfer(
        self, destination: str, *, reason: object, metadata: Mapping[str, Any] | None, say: Say | None
    ) -> ActiveTransfer:
        self._cleanup.join(self)  # whoever uses no `async with` is waited for, too
        last = self._active
        request = TransferRequest(
            self._publisher,
            partial(  # not a lambda: it would hold the session, and only the garbage collector could end that
                self._choices.build_intent,
                destination,
                self.call_id,
                reason=reason,
                metadata=metadata,
                settings=self._settings,
            ),
            destination=destination,
            expires_in_seconds=self._settings.expires_in_seconds,
            earlier=last.request if last is not None and not last.is_settled() else None,
        )
        return ActiveTransfer(
            request,
            self._settings,
            self._wording,
            speech=self._speech,
            longest_ring_seconds=self._choices.longest_ring_seconds(destination),
            say=say,
        )

    def _stands(self, active: ActiveTransfer) -> bool:
        """Whether an active transfer answers for every request that comes now."""
        if active.ended_at is None or active.is_watched():
            return True
        if active.has_failed_to_connect():
            return False
        age_seconds = loop_time() - active.ended_at
        return active.answer().state is State.SUBMITTED and age_seconds < self._settings.repeat_window_seconds

    def _answer(self, reason: AnyReason, **more: Any) -> TransferAnswer:
        phrase = self._wording.phrase(reason)
        return TransferAnswer(**{"reason": reason, "phrase": phrase, "to_say": phrase.say, **more})
