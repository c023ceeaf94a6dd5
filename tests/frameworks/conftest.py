"""Fixtures of the framework tests. They run in an environment for each framework: `make test-frameworks`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from frameworks.platform import Platform
    from voice.cluster import Cluster

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMEWORK = os.environ.get("TRANSFER_FRAMEWORK", "")
collect_ignore_glob = ["test_*.py"] if not FRAMEWORK else []

ENVIRONMENT = {
    "AGENT_ID": "agent-id",
    "AGENT_TOKEN": "agent-token",
    "PIOPIY_NUMBER": "+1 202-555-0199",
    "SUPPORT_NUMBER": "+1 202-555-0100",
    "OPENAI_API_KEY": "the-model",
    "DEEPGRAM_API_KEY": "deepgram-key",
    "CARTESIA_API_KEY": "cartesia-key",
    "CARTESIA_VOICE_ID": "a-voice",
    "PIOPIY_TLS": "false",
    "NO_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One Redis, one sandbox and one worker, in the worker's environment."""
    from voice.cluster import open_cluster

    with open_cluster(tmp_path_factory.mktemp("cluster"), has_worker=True) as opened:
        yield opened


@pytest.fixture
async def platform(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Platform]:
    """The far ends of the example's process, whose addresses stand in its environment."""
    from frameworks.platform import Platform
    from voice.cluster import SIGNING_KEY

    monkeypatch.delenv("PIOPIY_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    async with Platform() as far_end:
        given = {
            "TRANSFER_REDIS_URL": cluster.redis_url,
            "TRANSFER_SIGNING_KEY": SIGNING_KEY,
            "OPENAI_BASE_URL": f"{far_end.origin}/v1",
            "PIOPIY_REGISTER": far_end.register,
        }
        for name, value in (ENVIRONMENT | given).items():
            monkeypatch.setenv(name, value)
        yield far_end


@pytest.fixture
def load_example() -> Callable[[str], Any]:
    """Import an example as it is."""

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec
        assert spec.loader
        example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(example)
        return example

    return load


@pytest.fixture
def missing_of(tmp_path: Path) -> Callable[[str], str]:
    """Run an example without one of its variables; return what it says."""

    def run(name: str) -> str:
        given = {key: value for key, value in ENVIRONMENT.items() if key != "CARTESIA_VOICE_ID"}
        done = subprocess.run(
            [sys.executable, EXAMPLES / f"{name}.py"],
            env={"PATH": os.environ["PATH"], **given},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    return run
