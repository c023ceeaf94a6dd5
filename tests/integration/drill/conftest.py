"""Somebody on call who knows the runbook alone, and sessions that ask meanwhile."""

from __future__ import annotations

import pytest

from support.cluster import make_intent
from support.runbook import RUNBOOK

REGISTRY = """
[support]
description = "Technical support"
endpoints = ["+1 202-555-0100"]

[billing]
description = "Invoices; Piopiy refuses its number"
endpoints = ["+1 202-555-0122"]
"""

DEADLINE_SECONDS = 2


@pytest.fixture
def registry(cluster, tmp_path):
    """The registry file of every worker."""
    path = tmp_path / "destinations.toml"
    path.write_text(REGISTRY)
    cluster.environment["TRANSFER_DESTINATIONS_FILE"] = str(path)
    return path


@pytest.fixture
def on_call(ask, cluster, registry, monkeypatch):
    """Type a command that stands in the runbook; return what the engineer reads."""
    for name, value in cluster.worker_environment().items():
        monkeypatch.setenv(name, value)
    runbook = RUNBOOK.read_text("utf-8")

    def look(*words):
        assert f"call-transfer {words[0]}" in runbook
        return ask(*words).output

    return look


@pytest.fixture
def call_for(publisher):
    """Have sessions ask, and return the ids once all is over."""

    def call(*destinations):
        handles = [
            publisher.submit(make_intent(to, expires_in_seconds=DEADLINE_SECONDS)) for to in destinations
        ]
        for handle in handles:
            handle.outcome(10)
        return [handle.transfer_id for handle in handles]

    return call
