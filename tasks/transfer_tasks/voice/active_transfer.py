"""One transfer as a session lives through it: announce, ask, keep company, answer, give evidence later."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from transfer_tasks.connection import ConnectionStatus
from transfer_tasks.outcome import Reason, State
from transfer_tasks.voice.evidence import (
    evidence_after_seconds,
    may_ring_seconds,
    settle_unknown,
    wait_for_connection,
)
from transfer_tasks.voice.loop_time import loop_time
from transfer_tasks.voice.request import Finding
from transfer_tasks.voice.wording import SessionReason, TransferAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from transfer_tasks.connection import Connection
    from transfer_tasks.voice.ports import Handle
    from transfer_tasks.voice.request import TransferRequest
    from transfer_tasks.voice.settings import VoiceSettings
    from transfer_tasks.voice.speech import Say, Speech
    from transfer_tasks.voice.wording import AnyReason, Wording

log = logging.getLogger(__name__)


class ActiveTransfer:
    """Runs as a task of its own, so that it outlives the tool call that began it.

    ::

        check ─▶ announce ─▶ ask ─▶ wait ─▶ say it, answer        beside it: no silence gets long
                                 │ unknown
                                 ▼
                               watch ─┬─ the truth came from elsewhere ───────────▶ say it
                                      └─ the longest ring time and the grace are ─▶ say it; nothing is asked
                                         over, and the session is still there       again by itself

    Args:
        request: What is asked.
        settings: The session's.
        wording: What is said.
        speech: The session's.
        longest_ring_seconds: How long the platform may let such a request ring; None where nobody can say,
            so that presence in the call is never evidence.
        say: Hands a sentence to the caller's ear; None where the model speaks for itself.
    """

    def __init__(
        self,
        request: TransferRequest,
        settings: VoiceSettings,
        wording: Wording,
        *,
        speech: Speech,
        longest_ring_seconds: float | None,
        say: Say | None,
    ) -> None:
        self.request = request
        self.destination = request.destination
        self.ended_at: float | None = None
        self._settings, self._wording, self._speech, self._say = settings, wording, speech, say
        self._longest_ring_seconds = longest_ring_seconds
        self._may_ask_once_more = settings.session_evidence and settings.session_evidence_retry
        self._told: list[str] = []
        self._lines_said: Counter[tuple[str, ...]] = Counter()
        self._is_called_off = False
        self._latest: TransferAnswer | None = None
        self._watch: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._connection_watch: asyncio.Task[None] | None = None
        self._company: asyncio.Task[None] | None = None
        self.task = self._start()

    def answer(self) -> TransferAnswer:
        """Return what came of it, once the task is done."""
        if self.task.cancelled():
            is_ours = self._is_called_off
            return self._answer(Reason.CANCELLED_BY_SESSION if is_ours else SessionReason.SESSION_ENDED)
        if self.task.exception() or self._latest is None:
            return self._answer(SessionReason.INTERNAL_ERROR)
        return self._latest

    async def answer_again(self, say: Say | None) -> TransferAnswer:
        """Return the answer to whoever asks for the same again; nobody is left to wonder in silence."""
        answer = self.answer()
        if answer.state is not State.SUBMITTED:
            return replace(answer, is_repeat=True)
        phrase = self._wording.repeat(answer.phrase, self.destination)
        answer = replace(answer, is_repeat=True, phrase=phrase, told=(), to_say=phrase.say)
        return await self._speech.tell(say, answer)

    async def reassure(self) -> None:
        """Let a caller who asks again while nothing is known yet hear something at once."""
        after_seconds, lines = self._settings.holding_after_seconds, self._wording.holding
        has_waited = self._started_at + after_seconds <= loop_time()
        if lines and has_waited and not self._speech.spoke_within(after_seconds):
            await self._say_next(lines)

    def is_watched(self) -> bool:
        """Whether the outcome is unknown, and the session looks for the truth."""
        return self._watch is not None and not self._watch.done()

    def may_ring(self) -> bool:
        """Whether the platform has accepted the request, and the target may be ringing."""
        if (
            self.has_failed_to_connect()
            or self.ended_at is None
            or self.answer().state is not State.SUBMITTED
        ):
            return False
        return loop_time() - self.ended_at < may_ring_seconds(self._settings, self._longest_ring_seconds)

    def has_failed_to_connect(self) -> bool:
        """Whether the platform itself says that nobody was connected: the ledger takes a new request then."""
        seen = self._connection
        return bool(seen and seen.status is ConnectionStatus.NOT_CONNECTED and seen.source.is_platform)

    def is_settled(self) -> bool:
        """Whether nothing is left to find out."""
        return self.task.done() and self.answer().state is not State.UNKNOWN

    async def call_off(self) -> bool:
        """Stop what has not been asked for yet; say whether that is so, and nothing needs taking back."""
        if self.task.done() or self.request.is_begun:
            await self.request.wait_until_made()
            return False
        self._is_called_off = True
        self.task.cancel()
        await asyncio.wait({self.task})
        return True

    async def learn(self, finding: Finding) -> None:
        """Take up again a request for which nobody waited: it has been carried out, or may have been."""
        await self._conclude(finding)
        self._watch_if_unknown(finding)

    def hush(self) -> None:
        """Speak no more: the caller is gone."""
        for task in (self._company, self._watch, self._connection_watch):
            if task is not None:
                task.cancel()

    async def stop(self) -> None:
        """Stop waiting and speaking; what has been asked for stays asked for, and nothing more is."""
        self.hush()
        if not self.task.done():
            # A submission that is cut off would leave open whether it is queued; it has its own time budget.
            await self.request.wait_until_made()
            self.task.cancel()

    def _start(self) -> asyncio.Task[None]:
        self.ended_at, self._started_at = None, loop_time()
        self._speech.note_sound()  # whoever asked for it
        if self._company is not None:
            self._company.cancel()
        task = asyncio.create_task(self._run(), name=f"transfer-to-{self.destination}")
        task.add_done_callback(self._note_end)
        return task

    async def _run(self) -> None:
        finding = await self.request.check()
        if finding is None:
            await self._announce()
            self._company = _start_beside(self._keep_company)
            finding = await self.request.make()
        await self._tell(finding)
        self._watch_if_unknown(finding)

    def _watch_if_unknown(self, finding: Finding) -> None:
        if (
            self.request.handle
            and self._wording.phrase(finding.reason).state is State.UNKNOWN
            and not self.request.must_withdraw
        ):
            self._watch = _start_beside(partial(self._watch_unknown, self.request.handle))

    async def _announce(self) -> None:
        """Say what is about to happen, and let the caller hear it: afterwards they may be gone any moment."""
        sentence = self._wording.announcement(self.destination)
        if self._settings.announce == "before" and sentence and (end := await self._speak(sentence)):
            await asyncio.wait({end})

    async def _tell(self, finding: Finding) -> None:
        is_news = self._latest is not None
        answer = self._answer(finding.reason, finding)
        sentence = answer.phrase.say
        if answer.state is State.SUBMITTED and self._told and not is_news:
            sentence = None  # they have heard that they are being connected, and nothing else is known
        self._latest = replace(answer, to_say=sentence)
        if sentence and await self._speak(sentence):
            self._latest = replace(answer, told=tuple(self._told))
        if answer.state is State.SUBMITTED and self.request.handle:
            self._connection_watch = _start_beside(partial(self._watch_connection, self.request.handle))

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
            await self._conclude(Finding(outcome.reason, outcome))

    async def _conclude(self, finding: Finding) -> None:
        """Tell what became of it after the answer; it may ring from now on, as far as anybody knows."""
        self.ended_at = loop_time()
        await self._tell(finding)

    async def _watch_connection(self, handle: Handle) -> None:
        """Tell the caller, who is still there, why nobody was connected."""
        seconds = may_ring_seconds(self._settings, self._longest_ring_seconds)
        seen = self._connection = await wait_for_connection(handle, within_seconds=seconds)
        if seen and seen.status is ConnectionStatus.NOT_CONNECTED and not seen.caller_gone:
            sentence = self._wording.not_connected(seen.reason, self.destination)
            if sentence:
                await self._speak(sentence)

    async def _keep_company(self) -> None:
        """Break every long silence while something is on its way."""
        every_seconds = self._settings.holding_every_seconds
        while self._say and (lines := self._lines_of_now()) is not None:
            is_first = not self._told and not self._lines_said
            await self._speech.wait_for_silence(
                self._settings.holding_after_seconds if is_first else every_seconds
            )
            if not lines:
                await asyncio.sleep(every_seconds)
            elif lines == self._lines_of_now():
                await self._say_next(lines)

    async def _say_next(self, lines: tuple[str, ...]) -> None:
        number = self._lines_said[lines]
        self._lines_said[lines] += 1
        await self._speech.speak(self._say, lines[number % len(lines)])

    def _lines_of_now(self) -> tuple[str, ...] | None:
        """Return what is said into a silence of this moment; None where the transfer has nothing to say."""
        if self.ended_at is None:
            return self._wording.holding
        if self._connection is not None or not self._speech.is_reported:
            return None  # the conversation goes on, and nobody tells us when it rests
        if self.is_watched():
            return self._wording.unsure
        return self._wording.ringing if self.may_ring() else None

    async def _speak(self, text: str) -> asyncio.Task[None] | None:
        sentence = await self._speech.speak(self._say, text)
        if sentence is not None:
            self._told.append(text)
        return sentence

    def _answer(self, reason: AnyReason, finding: Finding | None = None) -> TransferAnswer:
        handle = self.request.handle
        return TransferAnswer(
            reason=reason,
            phrase=self._wording.phrase(reason, self.destination),
            destination=self.destination,
            told=tuple(self._told),
            transfer_id=handle.transfer_id if handle else "",
            outcome=finding.outcome if finding else None,
        )

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("A transfer failed inside the session", exc_info=error)
        self.ended_at = loop_time()


def _start_beside(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    """Start what goes on beside a transfer, until it is done or cancelled."""

    async def run() -> None:
        # A task that ends as cancelled keeps its frames, and those keep it (`asyncio.timeout` does): what
        # calls leave then waits for a full garbage collection, which stops every call of the process.
        with contextlib.suppress(asyncio.CancelledError):
            await work()

    return asyncio.create_task(run())
