"""Fixtures of the integration tests: the whole house."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.house import House
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import ProcessSpawner
    from transfer_tasks.publisher import TransferPublisher


@pytest.fixture
def house(redis_url: str, spawn: ProcessSpawner) -> Iterator[House]:
    """A real Redis, the sandbox, and worker processes as a test starts them."""
    with SandboxServer() as sandbox:
        yield House(redis_url=redis_url, sandbox=sandbox, spawn=spawn)


@pytest.fixture
def publisher(house: House) -> Iterator[TransferPublisher]:
    """A publisher of this house."""
    with house.publisher() as publisher:
        yield publisher
