"""Wake-ups as they happen: one subscription for a whole process, whatever the number of handles."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

RECONNECT_SECONDS = 0.25
SUBSCRIBE_SECONDS = 2.0
CANCEL_SECONDS = 0.5


class ReplyListener:
    """Hears on this process's own channel which transfers have ended, and wakes whoever waits for one.

    A wake-up says nothing else: whoever may PUBLISH can send one. How a transfer ended is on record alone,
    and whoever waits looks there; now and then without being woken, too: a wake-up can be missed.
    """

    def __init__(self, client: redis.asyncio.Redis, *, channel: str) -> None:
        self.channel = channel
        self._client = client
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._is_listening = asyncio.Event()

    @contextlib.asynccontextmanager
    async def expect(self, transfer_id: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event that each wake-up for this transfer sets."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="transfer-replies")
        woken = asyncio.Event()
        self._waiting[transfer_id].add(woken)
        try:
            yield woken
        finally:
            self._waiting[transfer_id].discard(woken)
            if not self._waiting[transfer_id]:
                del self._waiting[transfer_id]

    async def ready(self, *, within_seconds: float) -> bool:
        """Wait until the subscription stands, or the time is over; say which."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._is_listening.wait()
        return self._is_listening.is_set()

    def disown(self) -> None:
        """In a forked child the subscription is the parent's: its end here is no fault to tell of."""
        if self._task is not None:
            self._task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - as asyncio.gather does

    async def close(self) -> None:
        """End the subscription. Whoever still waits goes on looking at the record."""
        if self._task is not None:
            # More than once, because redis-py can lose it: `asyncio.wait_for` of Python 3.11 does.
            while not self._task.done():
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=CANCEL_SECONDS)
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _listen(self) -> None:
        while True:
            pubsub = self._client.pubsub(ignore_subscribe_messages=False)
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await pubsub.subscribe(self.channel)
                await self._hear(pubsub)
            except (RedisError, OSError):
                self._is_listening.clear()
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear(self, pubsub: redis.asyncio.client.PubSub) -> None:
        while True:
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            if message["type"] == "subscribe":
                self._is_listening.set()
            elif message["type"] == "message":
                for woken in self._waiting.get(message["data"], ()):
                    woken.set()
