"""A worker that must not start does not, and says why, with the fix."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, cast

import pytest

from support.cluster import Cluster
from transfer_tasks.redis.connection import connect
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import ProcessSpawner
    from transfer_worker.local.embedded_redis import EmbeddedRedis

COMMANDS = {
    "call-transfer": ["-m", "transfer_worker", "worker"],
    "celery": ["-m", "celery", "-A", "transfer_worker", "worker"],
}


@pytest.fixture
def cluster(private_redis: EmbeddedRedis, spawn: ProcessSpawner) -> Iterator[Cluster]:
    with SandboxServer() as sandbox:
        yield Cluster(redis_url=private_redis.url, sandbox=sandbox, spawn=spawn)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_redis_that_evicts_stops_the_start_with_exit_code_2(cluster: Cluster, command: list[str]) -> None:
    cluster.ledger().client.config_set("maxmemory-policy", "allkeys-lru")

    worker = cluster.spawn([sys.executable, *command], env=cluster.worker_environment())

    assert worker.wait() == 2
    assert "Set maxmemory-policy noeviction" in worker.output()
    assert "Traceback" not in worker.output()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_wrong_settings_stop_the_start_with_every_problem_listed(
    cluster: Cluster, command: list[str]
) -> None:
    wrong = {
        "PIOPIY_TOKEN": "",
        "TRANSFER_CONCURRENCY": "0",
        "TRANSFER_ALLOW_UNLISTED": "?",
        "TRANSFER_MAX_ATTEMPTS": "x",
    }

    worker = cluster.spawn([sys.executable, *command], env=cluster.worker_environment() | wrong)

    assert worker.wait() == 2
    for name in wrong:
        assert name in worker.output()
    assert "Traceback" not in worker.output()


def test_missing_persistence_is_told_and_does_not_stop_the_start(cluster: Cluster) -> None:
    cluster.ledger().client.config_set("appendonly", "no")

    worker = cluster.start_worker()

    assert "preflight.warning" in worker.output()
    assert "Set appendonly yes" in worker.output()


def test_plain_celery_takes_its_concurrency_from_the_settings_too(
    cluster: Cluster, private_redis: EmbeddedRedis
) -> None:
    worker = cluster.spawn(
        [sys.executable, *COMMANDS["celery"]],
        env=cluster.worker_environment() | {"TRANSFER_CONCURRENCY": "3"},
    )

    worker.wait_for_output(r"ready\.")
    with connect(private_redis.url, timeout_seconds=30) as client:
        (name,) = cast("list[str]", client.keys("transfer:worker:*"))
        assert json.loads(cast("str", client.get(name)))["concurrency"] == 3
