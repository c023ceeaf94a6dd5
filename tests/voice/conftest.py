"""Fixtures of the voice tests. They run in the voice environment: `make test-voice`."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from voice.cluster import Cluster

# The model's client obeys proxies; here the model is on this machine.
os.environ["NO_PROXY"] = "127.0.0.1"

# Elsewhere there is no piopiy-ai. With the variable set nothing is left out: what is missing fails.
if "TRANSFER_WORKER_PYTHON" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
else:
    import nltk

    nltk.download = lambda *_, **__: (
        False
    )  # piopiy.utils.string (0.6.1) downloads a model when it is imported


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One Redis, one sandbox and one worker for all tests that leave them alone."""
    from voice.cluster import open_cluster

    with open_cluster(tmp_path_factory.mktemp("cluster"), has_worker=True) as opened:
        yield opened


@pytest.fixture
def private_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for one test, to be damaged; no worker runs yet."""
    from voice.cluster import open_cluster

    with open_cluster(tmp_path_factory.mktemp("private-cluster"), has_worker=False) as opened:
        yield opened


@pytest.fixture
def open_voice() -> Callable[..., Any]:
    """Open a voice process: `async with open_voice(cluster) as voice: call = await voice.ring(…)`."""
    from transfer_tasks.voice import TransferClient, VoiceSettings
    from voice.cluster import DESTINATIONS, PATIENT, SIGNING_KEY
    from voice.loopback import Loopback

    @asynccontextmanager
    async def open_voice_process(
        cluster: Cluster, *, wording: Any = None, equip: Any = None, mcp_tools: Any = None, **settings: Any
    ) -> AsyncIterator[Loopback]:
        given = {
            "redis_url": SecretStr(cluster.redis_url),
            "destinations_file": DESTINATIONS,
            "signing_key": SecretStr(SIGNING_KEY),
            "announce": "after",  # most tests are about what comes after the request
            **PATIENT,
            **settings,
        }
        parts = {name: part for name, part in (("equip", equip), ("mcp_tools", mcp_tools)) if part}
        client = TransferClient(settings=VoiceSettings(_env_file=None, **given), wording=wording)
        async with client, Loopback(client, **parts) as voice:
            yield voice

    return open_voice_process
