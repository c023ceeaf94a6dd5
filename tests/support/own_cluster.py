"""A cluster with a Redis, a sandbox and processes of its own: one for many tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import ProcessSpawner
from support.cluster import Cluster
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def open_cluster(
    directory: Path, *, registry: str, sandbox: SandboxServer | None = None, **environment: str
) -> Iterator[Cluster]:
    """Yield a cluster whose files are in the folder; its processes end with it.

    Args:
        directory: An empty folder.
        registry: The destinations, as TOML.
        sandbox: Instead of one with a token of its own.
        environment: What every worker gets besides.
    """
    destinations = directory / "destinations.toml"
    destinations.write_text(registry)
    (directory / "processes").mkdir()
    spawner = ProcessSpawner(directory / "processes")
    with EmbeddedRedis() as redis_server, sandbox or SandboxServer() as running_sandbox:
        try:
            yield Cluster(
                redis_url=redis_server.url,
                sandbox=running_sandbox,
                spawn=spawner,
                environment={"TRANSFER_DESTINATIONS_FILE": str(destinations), **environment},
            )
        finally:
            spawner.end_all()
