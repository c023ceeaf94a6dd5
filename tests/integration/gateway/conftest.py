"""Gateways that are closed at the end."""

from __future__ import annotations

import pytest

from support.far_gateway import TOKEN
from transfer_worker.gateway import PiopiyGateway


@pytest.fixture
def make_gateway():
    made: list[PiopiyGateway] = []

    def make(base_url: str, timeout_seconds: float = 5.0) -> PiopiyGateway:
        made.append(PiopiyGateway(token=TOKEN, base_url=base_url, timeout_seconds=timeout_seconds))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()
