"""A Dockerfile's own lines, carried out without Docker: each stage in a copy of a Debian with that Python.

It knows what the file of this project uses, and refuses the rest by name instead of passing over it.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroot import Chroot, Mount

_NOTED = {"CMD", "STOPSIGNAL", "EXPOSE", "LABEL", "HEALTHCHECK"}


class NotUnderstood(Exception):
    """A line of the Dockerfile asks for something that is not carried out here."""


@dataclass(frozen=True)
class Step:
    """One instruction: `RUN pip install …`."""

    instruction: str
    rest: str

    def split_flags(self) -> tuple[dict[str, str], str]:
        """Return the `--name=value` at its beginning, and what follows."""
        flags, rest = {}, self.rest
        while found := re.match(r"--([a-z]+)=(\S+)\s+", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        return flags, rest


@dataclass
class Stage:
    """What stands between one FROM and the next."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)


def parse(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if not instruction:
            continue
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base.strip(), name.strip() or str(len(stages))))
        elif not stages:
            raise NotUnderstood(f"before the first FROM: {line}")
        else:
            stages[-1].steps.append(Step(instruction, rest.strip()))
    return stages


@dataclass
class Image:
    """A file system and how processes start in it.

    Attributes:
        system: Where.
        environment: What ENV has set.
        folder: Where WORKDIR is.
        user: What USER says, as `uid:gid`.
        command: What CMD says.
    """

    system: Chroot
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)

    def make_command(self, command: list[str], environment: dict[str, str], mounts: list[Mount]) -> list[str]:
        """Return what runs a command as a container would: this user, this folder, a read-only root."""
        return self.system.make_command(
            command,
            environment=self.environment | environment,
            folder=self.folder,
            user=self.user,
            is_read_only=True,
            mounts=mounts,
        )


def build(text: str, context: Path, start: Callable[[str, str], Chroot], log: Path) -> Image:
    """Carry out a Dockerfile; return the image of its last stage.

    Args:
        text: The Dockerfile.
        context: The folder that COPY takes from.
        start: Makes the system that a stage begins with, of its FROM and its name.
        log: Where the output goes.

    Raises:
        NotUnderstood: It uses something that is not carried out here.
        subprocess.CalledProcessError: A line failed.
    """
    built: dict[str, Image] = {}
    image = None
    for stage in parse(text):
        image = built[stage.name] = Image(start(stage.base, stage.name))
        for step in stage.steps:
            with log.open("a") as output:
                output.write(f"\n[{stage.name}] {step.instruction} {step.rest}\n")
            _carry_out(step, image, built, context, log)
    if image is None:
        raise NotUnderstood("there is no FROM")
    return image


def leave_out_ignored(context: Path) -> None:
    """Take out of a context what .dockerignore does not let in: all but what it names."""
    lines = (context / ".dockerignore").read_text("utf-8").splitlines()
    if "*" not in lines:
        raise NotUnderstood(".dockerignore does not begin with leaving out all")
    allowed = {line[1:] for line in lines if line.startswith("!")}
    for path in context.iterdir():
        if path.name not in allowed:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _carry_out(step: Step, image: Image, built: dict[str, Image], context: Path, log: Path) -> None:
    flags, rest = step.split_flags()
    if step.instruction == "COPY":
        source = built[flags.pop("from")].system.root if "from" in flags else context
        _copy(image, source, shlex.split(rest))
    elif step.instruction == "RUN":
        _run(image, rest, log)
    elif step.instruction == "ENV":
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            image.environment[name] = _expand(value, image)
    elif step.instruction == "WORKDIR":
        image.folder = _expand(rest, image)
        _inside(image, image.folder).mkdir(parents=True, exist_ok=True)
    elif step.instruction == "USER":
        if not re.fullmatch(r"\d+:\d+", rest):
            raise NotUnderstood(f"USER by name: {rest}")
        image.user = rest
    elif step.instruction == "CMD":
        image.command = json.loads(rest)
    elif step.instruction not in _NOTED:
        raise NotUnderstood(f"{step.instruction} {step.rest}")
    if flags:
        raise NotUnderstood(f"{step.instruction} with {', '.join(flags)}")


def _run(image: Image, command: str, log: Path) -> None:
    code = image.system.run(
        ["/bin/sh", "-c", command],
        environment=image.environment,
        folder=image.folder,
        user=image.user,
        log=log,
    )
    if code:
        raise subprocess.CalledProcessError(code, f"RUN {command}")


def _copy(image: Image, source: Path, names: list[str]) -> None:
    *sources, target_name = names
    target = _inside(image, target_name)
    paths = [path for name in sources for path in sorted(source.glob(name.lstrip("/")))]
    if len(paths) < len(sources):
        raise NotUnderstood(f"COPY of what is not there: {' '.join(sources)}")
    for path in paths:
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
        else:
            is_folder = target_name.endswith("/") or len(paths) > 1
            (target if is_folder else target.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / path.name if is_folder else target)


def _inside(image: Image, path: str) -> Path:
    return image.system.root / (Path(image.folder) / path).relative_to("/")


def _expand(value: str, image: Image) -> str:
    known = image.system.environment | image.environment
    return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], ""), value)
