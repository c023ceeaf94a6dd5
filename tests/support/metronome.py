"""Time as a test sees it: counted by a thread beside it, which a busy machine holds up likewise."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BEAT_SECONDS = 0.01
_TURN_SECONDS = 0.001


class Metronome:
    """Beats a hundred times a second on an idle machine, and more slowly on a busy one.

    Attributes:
        beats: How often so far.
        stalled_beats: The most of them in a row during which the event loop did not turn once.
    """

    def __init__(self) -> None:
        self.beats = self.stalled_beats = 0
        self.turns = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)

    def __enter__(self) -> Metronome:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        turns, stalled = self.turns, 0
        while not self._is_over.wait(BEAT_SECONDS):
            self.beats += 1
            stalled = stalled + 1 if turns == self.turns else 0
            turns, self.stalled_beats = self.turns, max(self.stalled_beats, stalled)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if it takes more beats than that, also where it ends in an error."""
    metronome = Metronome()
    try:
        with metronome:
            yield
    finally:
        assert metronome.beats * BEAT_SECONDS <= seconds, f"took {metronome.beats} beats"


@asynccontextmanager
async def no_stall(bound_seconds: float = 0.15) -> AsyncIterator[None]:
    """Fail if the event loop stood still for longer."""
    metronome = Metronome()

    async def turn() -> None:
        while True:
            metronome.turns += 1
            await asyncio.sleep(_TURN_SECONDS)

    turning = asyncio.create_task(turn())
    try:
        with metronome:
            yield
    finally:
        turning.cancel()
        await asyncio.gather(turning, return_exceptions=True)
        assert metronome.stalled_beats * BEAT_SECONDS <= bound_seconds, (
            f"the loop stood still for {metronome.stalled_beats} beats"
        )
