"""What `make chaos` has found, each reproduced in the small."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis.exceptions
import structlog

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.async_ledger import AsyncLedger
from transfer_tasks.ledger.connection import connect
from transfer_tasks.ledger.ledger import Ledger
from transfer_worker.ledger_steps import LedgerSteps
from transfer_worker.recovery import Recovery


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


def test_a_worker_that_claims_is_known_to_live_though_its_first_heartbeat_was_lost(redis_url: str) -> None:
    client = connect(redis_url, timeout_seconds=1.0)
    ledger = Ledger(client, namespace="transfer", retention_seconds=60)
    recovery = Recovery(
        ledger, worker="w", about_json="{}", queue="q", attempt_bound_seconds=1.0, log=structlog.get_logger()
    )
    steps = LedgerSteps(
        ledger,
        worker="w",
        queue="q",
        repeat_window_seconds=1.0,
        settle_patience_seconds=1.0,
        keep_lease=recovery.keep_lease,
    )

    with client:
        steps.claim("nobody's")

        assert client.exists(ledger.keys.worker("w"))
