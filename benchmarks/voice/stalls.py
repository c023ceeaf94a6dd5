"""An audio tick every 20 ms, and how late it comes; run by itself, beside what others do to an event loop.

Usage, in the worker's environment: python -m benchmarks.voice.stalls inline | celery
Prints how late each tick came, in milliseconds, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_SECONDS = 0.02
PEER_TRANSFERS = 50
PLATFORM_MS = 80
"""How long the platform takes to answer: a round trip to another continent, and a little."""


class Ticker:
    """Ticks while its block runs: `async with Ticker() as ticker: …`, then `ticker.late_ms`."""

    def __init__(self, late_ms: list[float] | None = None) -> None:
        self.late_ms = late_ms or []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.1)
        self.late_ms.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(2 * TICK_SECONDS)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        due = time.monotonic()
        while True:
            due += TICK_SECONDS
            await asyncio.sleep(due - time.monotonic())
            late = time.monotonic() - due
            self.late_ms.append(late * 1000)
            if late > TICK_SECONDS:  # what was missed is gone, as it is with audio
                due = time.monotonic()


def prepare_inline_call() -> Callable[[], object]:
    """Return what the published how-to does in its tool handler."""
    from piopiy_voice import RestClient

    client = RestClient(os.environ["PIOPIY_TOKEN"], base_url=os.environ["PIOPIY_API_URL"])
    endpoint = {"type": "pstn", "number": "12025550188"}
    connect = {"action": "connect", "params": {"caller_id": "12025550199"}, "endpoints": [endpoint]}
    return lambda: client.voice.transfer(call_id=str(uuid.uuid4()), pipeline=[connect])


def prepare_celery_publish() -> Callable[[], object]:
    """Return what a Celery user would do in a tool handler."""
    from transfer_worker.runtime.celery_app import transfer_call

    def publish() -> None:
        transfer_call.apply_async(kwargs={"intent": {"call_id": str(uuid.uuid4()), "destination": "support"}})

    return publish


async def measure(peer: str) -> list[float]:
    block = {"inline": prepare_inline_call, "celery": prepare_celery_publish}[peer]()
    async with Ticker() as ticker:
        for _ in range(PEER_TRANSFERS):
            block()
            await asyncio.sleep(0.04)
    return ticker.late_ms


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
