"""A cluster that carries out only what is signed, and the means of those who have no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import ProcessSpawner
from support.cluster import Cluster
from support.signing import REGISTRY, VERIFY_KEYS, SignedCluster
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedCluster]:
    """One worker with verify keys for the whole module; what it must not do is counted for each call."""
    directory = tmp_path_factory.mktemp("signed")
    (directory / "destinations.toml").write_text(REGISTRY)
    (directory / "processes").mkdir()
    spawner = ProcessSpawner(directory / "processes")
    with EmbeddedRedis() as redis_server, SandboxServer() as sandbox:
        cluster = Cluster(
            redis_url=redis_server.url,
            sandbox=sandbox,
            spawn=spawner,
            environment={
                "TRANSFER_DESTINATIONS_FILE": str(directory / "destinations.toml"),
                "TRANSFER_VERIFY_KEYS": VERIFY_KEYS,
            },
        )
        try:
            yield SignedCluster(cluster, cluster.start_worker())
        finally:
            spawner.end_all()
