"""The services of docker-compose.yml without Docker: their commands, environments and mounts as processes.

They run here, with hosts, folders and ports of this machine. Where `CALL_TRANSFER_IMAGE` is
what `.ci/machines.py` built by the Dockerfile's own lines, they run in that: as its user, on a read-only
root, with the mounts where the file says.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from support.kinship import children
from support.ports import pick_free_port
from transfer_worker.local.compose_secrets import make_secrets, name_url_file
from transfer_worker.local.redis_executable import find_redis_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.processes import ProcessSpawner, SpawnedProcess
    from transfer_worker.roles import Role

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
IMAGE: Final = os.environ.get("CALL_TRANSFER_IMAGE")
FLOWER_CONFIG: Final = ROOT / "worker" / "flowerconfig.py"
OUR_PORTS: Final = ("5555", "6379", "8900", "9808")


class Containers:
    """Runs services the way Compose would.

    Attributes:
        ports: Where each port of the file is on this machine.
        environment: What `.env` would say.
    """

    def __init__(self, spawn: ProcessSpawner, folder: Path, **environment: str) -> None:
        self._spawn, self._folder = spawn, folder
        self.ports = {port: str(pick_free_port()) for port in OUR_PORTS}
        self.environment = environment
        self.secrets = folder / "secrets"
        (folder / "bin").mkdir()
        # By the image's name, whichever server this machine has.
        (folder / "bin" / "redis-server").symlink_to(find_redis_server())

    def start(self, name: str, *more: str, **environment: str) -> SpawnedProcess:
        """Start a service; what more is given is of this machine or of the test alone."""
        command = [*SERVICES[name].get("entrypoint", ()), *SERVICES[name]["command"]]
        return self.run(name, *command, *more, **(self.declared(name) | environment))

    def declared(self, name: str) -> dict[str, str]:
        """Return a service's environment: what `.env` says where it reads that, and what the file says."""
        service = SERVICES[name]
        from_file = self.environment if "env_file" in service else {}
        stated = from_file | {key: str(value) for key, value in service.get("environment", {}).items()}
        return {key: self._translate(value) for key, value in stated.items()}

    def write_secrets(self, **variables: str) -> None:
        """Write the files that `init --compose` makes of these variables, with hosts as they are here."""
        self.secrets.mkdir(mode=0o700)
        for name, text in make_secrets(variables).items():
            (self.secrets / name).write_text(self._translate(text) if name.endswith("_url") else text)
            (self.secrets / name).chmod(0o444)

    def log_in(self, role: Role) -> str:
        """Return where a role logs in at Redis."""
        return (self.secrets / name_url_file(role)).read_text()

    def volume(self, name: str) -> Path:
        """Return where a named volume is on this machine."""
        return self._folder / "volumes" / name

    def run(self, name: str, *command: str, **environment: str) -> SpawnedProcess:
        """Run any command in a service's container."""
        translated = [self._translate(part) for part in command]
        mounts = self._prepare_mounts(name)
        if IMAGE is not None and "build" in SERVICES[name]:
            options = [part for pair in environment.items() for part in ("--env", "=".join(pair))]
            for target, (source, mode) in mounts.items():
                options += ["--mount", f"{source}:{target}{':ro' if mode == 'ro' else ''}"]
            call = [sys.executable, str(ROOT / ".ci" / "image.py"), IMAGE, *options, "--", *translated]
            return self._spawn(call, name=name)
        here = {"/app/flowerconfig.py": str(FLOWER_CONFIG)} | {
            target: str(source) for target, (source, _) in mounts.items()
        }
        path = f"{Path(sys.executable).parent}:{self._folder / 'bin'}:{os.environ['PATH']}"
        return self._spawn(
            [_replace_all(part, here) for part in translated],
            env={"PATH": path} | {key: _replace_all(value, here) for key, value in environment.items()},
            name=name,
        )

    def stop(self, container: SpawnedProcess) -> int:
        """Send its first process what `docker stop` sends; return its exit code."""
        for pid in children(container.pid) if IMAGE is not None else [container.pid]:
            os.kill(pid, signal.SIGTERM)
        return container.wait(30)

    def _prepare_mounts(self, name: str) -> dict[str, tuple[Path, str]]:
        """Return what is mounted where: named volumes in a folder of the test, and the repository's files."""
        mounts, is_ours = {}, "build" in SERVICES[name]
        for secret in SERVICES[name].get("secrets", ()):
            file = self.secrets / secret
            if not file.is_file():
                raise LookupError(f"the file of the secret {secret} is missing")
            mounts[f"/run/secrets/{secret}"] = (file, "ro")
        for volume in SERVICES[name].get("volumes", ()):
            if isinstance(volume, str):
                source, target, *mode = volume.split(":")
                folder = self._make_volume(source, target, is_ours=is_ours)
                mounts[target] = (folder, "".join(mode) or "rw")
            else:
                source = self._translate(volume["source"])
                mounts[volume["target"]] = (ROOT / source, "ro" if volume.get("read_only") else "rw")
        return mounts

    def _make_volume(self, name: str, target: str, *, is_ours: bool) -> Path:
        """Return the folder of a named volume; a new one takes over owner and mode from the image."""
        folder = self.volume(name)
        if not folder.exists():
            folder.mkdir(parents=True)
            if IMAGE is not None and is_ours:
                shutil.copystat(in_image(target), folder)
                owner = in_image(target).stat()
                os.chown(folder, owner.st_uid, owner.st_gid)
        return folder

    def _translate(self, text: str) -> str:
        """Fill in variables as Compose does, and say hosts and ports as they are on this machine."""
        text = re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", self._fill_in, text)
        text = re.sub(r"\b(redis|sandbox):(\d+)\b", lambda found: f"127.0.0.1:{found[2]}", text)
        return re.sub(
            r"(^|127\.0\.0\.1:)(\d+)\b", lambda found: f"{found[1]}{self.ports.get(found[2], found[2])}", text
        )

    def _fill_in(self, found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        value = self.environment.get(name, "")
        if not value and kind == "?":
            raise LookupError(f"{name}: {rest}")
        return value or (rest if kind == "-" else "")


def in_image(path: str) -> Path:
    """Return where a path of the image is on this machine."""
    assert IMAGE is not None
    return Path(json.loads(Path(IMAGE).read_text("utf-8"))["system"]["root"]) / path.lstrip("/")


def _replace_all(text: str, replacements: Mapping[str, str]) -> str:
    for there, here in replacements.items():
        text = text.replace(there, here)
    return text
