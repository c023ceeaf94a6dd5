"""A steady stream of sessions, by three publishers at once.

Two of three live on the event loop, the third is the blocking one, used from threads.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from chaos.sessions import Line, Session
from transfer_tasks.publisher import AsyncTransferPublisher, TransferPublisher
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.history import Ask

MAX_BLOCKED_SESSIONS: Final = 96


def make_lines(urls: Mapping[str, str], executor: ThreadPoolExecutor) -> list[Line]:
    """Return a publisher for each address; the last one blocks."""
    settings = {name: PublisherSettings(redis_url=url) for name, url in urls.items()}
    *on_loop, blocking = settings
    return [
        *(Line(name, AsyncTransferPublisher(settings[name]), executor) for name in on_loop),
        Line(blocking, TransferPublisher(settings[blocking]), executor),
    ]


class Load:
    """A steady stream of sessions, on a thread with an event loop of its own.

    Args:
        urls: Redis's address for each publisher, in the order of `PUBLISHERS`.
        seed: Where every decision comes from.
        per_second: New sessions a second.
        seconds: How long new ones begin.

    Attributes:
        asks: The log of everything that sessions asked and heard.
    """

    def __init__(
        self, urls: Mapping[str, str], *, seed: int | str, per_second: float, seconds: float
    ) -> None:
        self.asks: list[Ask] = []
        self._urls, self._seed = urls, seed
        self._per_second, self._seconds = per_second, seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_running(self) -> bool:
        """Whether a session still waits for something."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Begin no more sessions."""
        self._ending.set()

    def join(self, deadline_seconds: float) -> None:
        """Wait for the sessions that have begun."""
        self._thread.join(deadline_seconds)
        if self._thread.is_alive():
            raise AssertionError(f"sessions still wait {deadline_seconds:g} s after the load's end")

    async def _run(self) -> None:
        # Not on the loop's own executor, whose few threads would be all taken by waiting sessions.
        executor = ThreadPoolExecutor(MAX_BLOCKED_SESSIONS, thread_name_prefix="session")
        lines = make_lines(self._urls, executor)
        loop = asyncio.get_running_loop()
        started, sessions = loop.time(), set()
        for number in itertools.count():
            at = started + number / self._per_second
            if self._ending.is_set() or at - started > self._seconds:
                break
            await asyncio.sleep(at - loop.time())
            chance = random.Random(f"{self._seed}/{number}")
            session = Session(chance, chance.sample(lines, 2), self.asks.append)
            task = asyncio.create_task(session.run())
            sessions.add(task)
        await asyncio.gather(*sessions)
        for line in lines:
            await line.call(line.publisher.close)
        executor.shutdown()
