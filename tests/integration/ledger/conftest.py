"""Transfers at each point of their way, on a real Redis."""

from __future__ import annotations

import pytest

from support.role_users import open_bench
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
)


@pytest.fixture
def bench(redis_url):
    """The steps, each by the user of a role that takes it; at the end, no refusals and no leaked keys."""
    with open_bench(redis_url) as bench:
        yield bench


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
