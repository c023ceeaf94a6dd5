"""Transfers at each point of their way, on a real Redis."""

from __future__ import annotations

import pytest

from support import keys_without_ttl
from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
)
from transfer_tasks.redis.connection import connect


@pytest.fixture
def bench(redis_url):
    """The steps, and at the end the key-leak check."""
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)
        assert keys_without_ttl(client) == []


@pytest.fixture
def waiting(bench) -> str:
    return bench.accept().transfer_id


@pytest.fixture
def claim(bench, waiting) -> Claim:
    claim = bench.claim(waiting)
    assert isinstance(claim, Claim)
    return claim


@pytest.fixture
def sending(bench, claim) -> Claim:
    assert isinstance(bench.begin(claim), Begun)
    return claim
