"""Outcomes as they happen: one subscription for a whole process, whatever the number of handles."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from transfer_tasks.ledger.verdicts import parse_outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis.asyncio

    from transfer_tasks.outcome import TransferOutcome

RECONNECT_SECONDS = 0.25
SUBSCRIBE_SECONDS = 2.0
CANCEL_SECONDS = 0.5


class ReplyListener:
    """Hears outcomes on this process's own channel and hands each to whoever waits for it.

    A missed notification is not an error: whoever waits also looks at the record from time to time.
    """

    def __init__(self, client: redis.asyncio.Redis, *, channel: str) -> None:
        self.channel = channel
        self._client = client
        self._waiting: defaultdict[str, set[asyncio.Future[TransferOutcome]]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._is_listening = asyncio.Event()

    @contextlib.asynccontextmanager
    async def expect(self, transfer_id: str) -> AsyncIterator[asyncio.Future[TransferOutcome]]:
        """Yield a future that gets this transfer's next notification, if one comes."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen(), name="transfer-replies")
        future: asyncio.Future[TransferOutcome] = asyncio.get_running_loop().create_future()
        self._waiting[transfer_id].add(future)
        try:
            yield future
        finally:
            future.cancel()
            self._waiting[transfer_id].discard(future)
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
                try:
                    outcome = parse_outcome(message["data"])
                except (ValueError, TypeError, LookupError):
                    continue  # not ours: the record says what is true
                for future in self._waiting.get(outcome.transfer_id, ()):
                    if not future.done():
                        future.set_result(outcome)
