"""What `make chaos` has found, each reproduced in the small."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis.exceptions

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.async_ledger import AsyncLedger


class CancellationLosingPool:
    """Loses a cancellation, as `asyncio.wait_for` of Python 3.11 does at the wrong moment."""

    async def get_connection(self) -> Any:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(2)
        raise redis.exceptions.ConnectionError("nobody there")


async def test_the_time_budget_holds_when_the_redis_client_loses_the_cancellation() -> None:
    client: Any = SimpleNamespace(connection_pool=CancellationLosingPool())
    ledger = AsyncLedger(client, namespace="transfer", retention_seconds=60)
    started = time.monotonic()

    with pytest.raises(LedgerUnavailable):
        await ledger.run(ledger.commands.beat(worker="w", lease_ms=1, about_json="{}"), budget_seconds=0.1)

    assert time.monotonic() - started < 0.5
