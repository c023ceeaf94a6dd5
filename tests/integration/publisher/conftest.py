"""A publisher before a line that can be broken, and the worker's side straight on Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import FaultProxy, keys_without_ttl
from support.ledger_bench import LedgerBench
from support.publishing import make_settings
from transfer_tasks.publisher import AsyncTransferPublisher
from transfer_tasks.redis.connection import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    with FaultProxy.before(redis_url) as proxy:
        yield proxy


@pytest.fixture
def bench(redis_url: str) -> Iterator[LedgerBench]:
    """The worker's side, straight on Redis."""
    with connect(redis_url, timeout_seconds=10) as client:
        yield LedgerBench(client)
        assert keys_without_ttl(client) == []


@pytest.fixture
async def publisher(proxy: FaultProxy, redis_url: str) -> AsyncIterator[AsyncTransferPublisher]:
    """With a short time budget, for what is about that budget."""
    async with AsyncTransferPublisher(make_settings(proxy.url_for(redis_url))) as publisher:
        yield publisher


@pytest.fixture
async def patient_publisher(proxy: FaultProxy, redis_url: str) -> AsyncIterator[AsyncTransferPublisher]:
    """With a budget that no busy machine exhausts."""
    settings = make_settings(proxy.url_for(redis_url), publish_budget_seconds=30)
    async with AsyncTransferPublisher(settings) as publisher:
        yield publisher
