"""Transfers at each point of their way, on a real Redis."""

from __future__ import annotations

from contextlib import closing

import pytest

from support import keys_without_ttl
from support.ledger_bench import LedgerBench
from support.role_users import RoleBench, add_roles, parts_permissions, refusals
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
)
from transfer_tasks.redis.connection import connect


@pytest.fixture
def bench(redis_url):
    """The steps, each by the user of a role that takes it; at the end, no refusals and no leaked keys."""
    with connect(redis_url, timeout_seconds=30) as client:
        if not parts_permissions(client):
            yield LedgerBench(client)
        else:
            with closing(RoleBench(client, add_roles(redis_url))) as bench:
                yield bench
            assert refusals(redis_url) == []
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
