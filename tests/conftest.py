"""Fixtures for everyone: a real Redis, and child processes that never outlive their test."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import settings

from support import ProcessSpawner, keys_without_ttl
from transfer_worker.local.embedded_redis import EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Iterator


# Whoever starts the tests in the background of a shell has them ignore Ctrl-C and Ctrl-\, and nohup has them
# ignore a hangup. Children, which are tested with these signals, inherit that, and no handler.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# How long an example takes says nothing on a busy machine; benchmarks measure time.
settings.register_profile("cluster", deadline=None)
settings.load_profile("cluster")


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A `.env` and a `destinations.toml` in the checkout, as the README says to make them, are not read."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("away"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One real Redis for the whole run; leave it running and as configured."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The shared Redis, emptied; the URL carries its password."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the shared, emptied Redis; answers are bytes."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def private_redis() -> Iterator[EmbeddedRedis]:
    """A Redis for one test: to be killed, paused, restarted, reconfigured."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def no_key_leaks(redis_client: redis.Redis) -> Iterator[None]:
    """Fail a test that leaves a key without a TTL behind (the queue excepted)."""
    yield
    leaked = keys_without_ttl(redis_client)
    assert not leaked, f"keys without a TTL: {leaked}"


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[ProcessSpawner]:
    """Start child processes: `spawn([program, …], env=…)`; they end with the test."""
    directory = tmp_path / "processes"
    directory.mkdir()
    spawner = ProcessSpawner(directory)
    yield spawner
    spawner.end_all()
