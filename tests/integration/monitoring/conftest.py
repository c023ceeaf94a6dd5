"""The ledger on a bench."""

from __future__ import annotations

import pytest

from support.ledger_bench import LedgerBench
from transfer_tasks.redis.connection import connect


@pytest.fixture
def bench(redis_url):
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)
