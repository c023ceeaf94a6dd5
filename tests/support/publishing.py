"""A publisher under test: with a short time budget, and seen from the side of Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from support.cluster import make_intent
from support.metronome import no_stall, within
from support.waiting import wait_until_async
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import redis

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.publisher import AsyncTransferHandle, AsyncTransferPublisher

BUDGET_SECONDS = 0.5
MARGIN_SECONDS = 0.25


def make_settings(url: str, **fields: Any) -> PublisherSettings:
    """Return a publisher's settings; the time budget is `BUDGET_SECONDS` unless told otherwise."""
    return PublisherSettings(redis_url=url, **{"publish_budget_seconds": BUDGET_SECONDS, **fields})


async def submit_in_time(publisher: AsyncTransferPublisher, intent: TransferIntent | None = None) -> Any:
    """Submit; fail if it takes longer than the budget or holds the event loop up."""
    with within(BUDGET_SECONDS + MARGIN_SECONDS):
        async with no_stall():
            return await publisher.submit(intent or make_intent())


@asynccontextmanager
async def waiting_for(
    *handles: AsyncTransferHandle, client: redis.Redis, patience_seconds: float | None = None
) -> AsyncIterator[list[asyncio.Task[TransferOutcome]]]:
    """Wait for outcomes in tasks; enter when each is subscribed and has looked at the record.

    Nobody else may run ledger steps meanwhile: looks are counted as such.
    """
    looks = count_steps(client)
    tasks = [asyncio.create_task(handle.outcome(timeout=patience_seconds)) for handle in handles]
    try:
        await wait_until_async(lambda: count_steps(client) >= looks + len(tasks))
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def count_steps(client: redis.Redis) -> int:
    """Return how many ledger steps Redis has run."""
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def subscriber_ids(client: redis.Redis) -> list[str]:
    """Return the connections that listen for outcomes."""
    subscribers: Any = client.client_list(_type="pubsub")
    return [subscriber["id"] for subscriber in subscribers if subscriber["sub"] != "0"]
