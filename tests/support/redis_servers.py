"""Redis servers as people meet them, and what is said of them."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from support.ports import CLUSTER_BUS_OFFSET, pick_free_port
from support.waiting import wait_until
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.diagnosis import Trouble, diagnose
from transfer_worker.runtime.redis_checks import check_redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.cluster import Cluster
    from transfer_worker.runtime.findings import Finding


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def cluster_mode(start: Callable[..., int]) -> Iterator[int]:
    """Run a cluster of one node, which has every slot."""
    port = start("--cluster-enabled", "yes", port=pick_free_port(offsets=[CLUSTER_BUS_OFFSET]))
    with redis.Redis(port=port, decode_responses=True) as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *map(str, range(16384)))
        wait_until(
            lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok",
            20,
            message="the cluster is up",
        )
    yield port


def look(url: str, **options: Any) -> dict[str, Finding]:
    with connect(url, timeout_seconds=2) as client:
        return {found.check: found for found in check_redis(client, queue="transfers", **options)}


def refusal_of(url: str) -> Trouble:
    """Return what a step meets at an address, as the publisher and every command see it."""
    with connect(url, timeout_seconds=1) as client, pytest.raises(redis.RedisError) as met:
        client.eval("return redis.call('SET', 'transfer:x', 'y', 'EX', 1)", 0)
    return diagnose(met.value).trouble


def add_user(port: int, *rules: str, password: str = "") -> None:
    with redis.Redis(port=port, password=password or None) as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">app-password", *rules)


def app_url(port: int, database: int = 0) -> str:
    return f"redis://app:app-password@127.0.0.1:{port}/{database}"


def run(cluster: Cluster, *arguments: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "transfer_worker", *arguments],
        env=cluster.worker_environment() | {"USER": "ana", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())
