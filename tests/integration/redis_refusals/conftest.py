"""Servers with options of their own, and a cluster at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.cluster import Cluster
from support.ports import pick_free_port
from support.waiting import wait_until
from transfer_worker.local.redis_executable import find_redis_server
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support import ProcessSpawner


from support.redis_servers import listens


@pytest.fixture
def start(spawn: ProcessSpawner, tmp_path: Path) -> Callable[..., int]:
    """Start a server with these options; return its port."""

    def start_server(*options: str, port: int = 0) -> int:
        port = port or pick_free_port()
        directory = tmp_path / f"redis-{port}"
        directory.mkdir()
        config = directory / "server.conf"
        config.write_text("")  # a Sentinel must have one
        spawn(
            [str(find_redis_server()), str(config), "--port", str(port), "--dir", str(directory), *options],
            env={},
            name=f"redis-{port}",
        )
        wait_until(lambda: listens(port), 15, message="the server listens")
        return port

    return start_server


@pytest.fixture
def cluster_at(spawn: ProcessSpawner) -> Iterator[Callable[[str], Cluster]]:
    with SandboxServer() as sandbox:
        yield lambda url: Cluster(redis_url=url, sandbox=sandbox, spawn=spawn)
