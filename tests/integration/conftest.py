"""Fixtures of the integration tests: the whole cluster."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from support.cluster import Cluster
from support.ports import pick_free_port
from support.redis_servers import listens
from support.waiting import wait_until
from transfer_worker import cli
from transfer_worker.local.redis_executable import find_redis_server
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

    from support import ProcessSpawner
    from transfer_tasks.publisher import TransferPublisher


@pytest.fixture
def cluster(redis_url: str, spawn: ProcessSpawner) -> Iterator[Cluster]:
    """A real Redis, the sandbox, and worker processes as a test starts them."""
    with SandboxServer() as sandbox:
        yield Cluster(redis_url=redis_url, sandbox=sandbox, spawn=spawn)


@pytest.fixture
def publisher(cluster: Cluster) -> Iterator[TransferPublisher]:
    """A publisher of this cluster."""
    with cluster.publisher() as publisher:
        yield publisher


@pytest.fixture
def ask(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Run one command in this process; stdout must be free of colours and of full numbers."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("TRANSFER_", "PIOPIY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRANSFER_REDIS_URL", cluster.redis_url)
    monkeypatch.setenv("USER", "ana")

    def run(*arguments: str, **options: Any) -> Result:
        answer = CliRunner().invoke(cli.app, list(arguments), **options)
        if answer.exception and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        assert "\x1b" not in answer.output
        # Some fixes show how to write a number.
        said = answer.output.replace("like +1 202-555-0143", "")
        assert not re.search(r"202\W?555\W?\d{4}", said), answer.output
        return answer

    return run


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
