"""A worker for the operator's commands, and the ledger beside it."""

from __future__ import annotations

import pytest

from support.ledger_bench import LedgerBench

REGISTRY = """
[support]
description = "Technical support"
endpoints = ["+1 202-555-0100"]

[sales]
description = "Sales, which answer 503 for ever"
endpoints = ["+1 202-555-0155"]

[gone]
description = "Answers 404"
endpoints = ["+1 202-555-0104"]

[silent]
description = "Moves the call and loses the answer"
endpoints = ["+1 202-555-0162"]
"""


@pytest.fixture
def bench(cluster):
    """The steps of anybody, in the ledger of the cluster."""
    ledger = cluster.ledger()
    with ledger.client as client:
        yield LedgerBench(client)


@pytest.fixture
def worker(cluster, tmp_path):
    """A real worker that knows four destinations."""
    path = tmp_path / "registry.toml"
    path.write_text(REGISTRY)
    return cluster.start_worker(TRANSFER_DESTINATIONS_FILE=str(path))
