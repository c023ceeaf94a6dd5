"""A sandbox, and who may ask it."""

from __future__ import annotations

import pytest
import requests

from transfer_worker.sandbox import DEFAULT_TOKEN, SandboxServer


@pytest.fixture
def sandbox():
    with SandboxServer() as server:
        yield server


@pytest.fixture
def client():
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {DEFAULT_TOKEN}"
        yield session
