"""What one caller hears of a session: sentences handed over, their ends, the silences between them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from transfer_tasks.voice.loop_time import loop_time

if TYPE_CHECKING:
    from transfer_tasks.voice.wording import TransferAnswer

log = logging.getLogger(__name__)

Say = Callable[[str], Awaitable[object]]
"""Hands a sentence to the caller's ear, and returns at once.

What it returns is awaited as the end of that sentence, if it is an awaitable: what the framework reports.
"""

HAND_OVER_SECONDS: Final = 1.0
"""How long handing over a sentence may take; speaking it takes its own time."""

LONGEST_SENTENCE_SECONDS: Final = 8.0
"""How long the end of a sentence is waited for, if the framework promises to report it and doesn't."""


class Speech:
    """The sentences that a session speaks to its caller, and the silence since anybody spoke.

    Args:
        sentence_seconds: How long a sentence takes where the framework does not report its end.

    Attributes:
        is_reported: Whether the framework tells when somebody speaks. Only then the session knows a silence
            in the others' conversation.
    """

    def __init__(self, *, sentence_seconds: float) -> None:
        self.is_reported = False
        self._sentence_seconds = sentence_seconds
        self._sentences: set[asyncio.Task[None]] = set()
        self._silent_since = 0.0
        self._spoke_at = 0.0

    def note_sound(self) -> None:
        """Note that the silence has been broken just now, by whoever it was."""
        self._silent_since = loop_time()

    def report(self) -> None:
        """Note what the framework tells: that somebody speaks, or has just stopped."""
        self.is_reported = True
        self.note_sound()

    async def speak(self, say: Say | None, text: str) -> asyncio.Task[None] | None:
        """Hand over a sentence.

        Returns:
            A task that is done when the sentence has been heard, or cut off by the caller; None where it was
            not handed over. Wait for it by `asyncio.wait`; cancel it never.
        """
        if say is None:
            return None
        self.note_sound()
        self._spoke_at = loop_time()
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                end = await say(text)
        except Exception:  # a framework's code: whatever it raises, the answer must get through
            log.warning("A sentence could not be spoken", exc_info=True)
            return None
        if not inspect.isawaitable(end):
            # Silence then counts from here: better a line too soon than a caller who hears nothing for long.
            return asyncio.create_task(asyncio.sleep(self._sentence_seconds), name="sentence")
        sentence = asyncio.create_task(self._follow(end), name="sentence")
        self._sentences.add(sentence)
        sentence.add_done_callback(self._sentences.discard)
        return sentence

    async def tell(self, say: Say | None, answer: TransferAnswer) -> TransferAnswer:
        """Speak what an answer has to say; return it as it is then: told, or left to the model."""
        if answer.to_say and await self.speak(say, answer.to_say):
            return replace(answer, told=(answer.to_say,), to_say=None)
        return answer

    def spoke_within(self, seconds: float) -> bool:
        """Whether the session itself speaks, or began to within the last seconds."""
        return bool(self._sentences) or loop_time() < self._spoke_at + seconds

    async def wait_for_silence(self, seconds: float) -> None:
        """Wait until nobody has spoken for so long."""
        while True:
            if self._sentences:
                await asyncio.wait(set(self._sentences))
            elif (left_seconds := self._silent_since + seconds - loop_time()) > 0:
                await asyncio.sleep(left_seconds)
            else:
                return

    async def _follow(self, end: Awaitable[object]) -> None:
        """Wait for the end of a sentence that was handed over."""
        ending = asyncio.create_task(_settle(end))
        await asyncio.wait({ending}, timeout=LONGEST_SENTENCE_SECONDS)
        self.note_sound()


async def _settle(end: Awaitable[object]) -> None:
    try:
        await end
    except Exception:  # a framework's code, as above
        log.warning("The end of a sentence could not be awaited", exc_info=True)
