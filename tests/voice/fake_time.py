"""The agent SDK on a clock that jumps: what only waits takes no time, and work takes its own, unseen."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

from transfer_tasks.testing.clock import FastLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LONG_SECONDS = 0.05
UNSEEN_SECONDS = 0.002
"""What is on its way through this machine's sockets gets so long before the clock takes a long jump."""


class SdkLoop(FastLoop):
    """Stands still while a thread works for it: the model's client looks up hosts on one."""

    def __init__(self) -> None:
        super().__init__()
        self._working = 0
        self._jump, self._selector.select = self._selector.select, self._select

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run it on a thread, while the time stands still."""
        self._working += 1
        future = super().run_in_executor(executor, function, *arguments)
        future.add_done_callback(self._note_end)
        return future

    def _note_end(self, _: object) -> None:
        self._working -= 1

    def _select(self, timeout: float | None = None) -> Any:
        ready = None
        if self._working or timeout is None or timeout > LONG_SECONDS:
            seconds = UNSEEN_SECONDS if timeout is None else min(timeout, UNSEEN_SECONDS)
            ready = selectors.DefaultSelector.select(self._selector, seconds)
        return ready if ready or self._working else self._jump(timeout)


def run_on_fake_time(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=SdkLoop) as runner:
        return runner.run(coroutine)
