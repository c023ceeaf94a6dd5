"""An event loop whose clock jumps: whatever only waits for time takes none."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Adds to the clock instead of sleeping."""

    skipped_seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Look at the sockets, and let the time pass that nobody needs."""
        ready = super().select(0)
        if not ready and timeout is None:
            return super().select(0.01)
        if not ready and timeout:
            self.skipped_seconds += timeout
        return ready


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop on fake time; `time()` starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the seconds that were skipped so far."""
        return self._jumping.skipped_seconds


def run_on_fake_time(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on fake time."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(coroutine)
