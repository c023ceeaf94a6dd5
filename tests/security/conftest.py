"""A cluster that carries out only what is signed, and the means of those who have no key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.own_cluster import open_cluster
from support.signing import REGISTRY, VERIFY_KEYS, SignedCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedCluster]:
    """One worker with verify keys for the whole module; what it must not do is counted for each call."""
    directory = tmp_path_factory.mktemp("signed")
    with open_cluster(directory, registry=REGISTRY, TRANSFER_VERIFY_KEYS=VERIFY_KEYS) as cluster:
        yield SignedCluster(cluster, cluster.start_worker())
