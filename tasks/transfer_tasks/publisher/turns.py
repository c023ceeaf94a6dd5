"""Sharing an event loop with who else lives on it, with audio for one: much at once is spread over turns."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from transfer_tasks.publisher.loop_local import LoopLocal

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP_SECONDS: Final = 0.002
"""How long transfers may keep one turn of an event loop. One submission takes a quarter of it; a hundred in
the same turn would be heard in every call."""


class Turns:
    """The turns of one event loop: whoever has something to do there takes one first.

    Args:
        clock: In seconds. Not the loop's own: uvloop's stands still within a turn.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began_at: float | None = None
        self._first = asyncio.Lock()

    async def take(self) -> None:
        """Go on at once while this turn has time left; else in a later one. First come, first served."""
        async with self._first:  # whoever else waits, waits for this; so no turn wakes more than one
            while self._is_spent():  # noqa: ASYNC110 - a turn is what is waited for
                await asyncio.sleep(0)

    def _is_spent(self) -> bool:
        now = self._clock()
        if self._began_at is None:
            self._began_at = now
            asyncio.get_running_loop().call_soon(self._end)
        return now - self._began_at >= KEEP_SECONDS

    def _end(self) -> None:
        self._began_at = None


_turns: Final = LoopLocal(Turns)


async def take_turn() -> None:
    """Take a turn of the running loop, before a request is built, submitted or looked for."""
    await _turns.get().take()
