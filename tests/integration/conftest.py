"""Fixtures of the integration tests: the whole cluster."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from support.cluster import Cluster
from transfer_worker import cli
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
