"""Installations as users make them: a fresh environment outside the tree, and one install of our wheel in it.

The development environment lends its pip and its Python, nothing else: what is not declared is missing there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from support.requirements import follow_requirements

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints" / "worker.txt"
# What tells a program where it is and what it may reach; nothing that configures the project or Python.
_KEPT = ("LANG", "TMPDIR", "SSL_CERT_FILE")
_DESCRIBE = """
import importlib.metadata as metadata, json
print(json.dumps({found.name: found.requires or [] for found in metadata.distributions()}))
"""


def run(*command: str | Path, code: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; fail with its output if the exit code is another."""
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        [str(part) for part in command],
        **{"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "check": False, **options},
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def build_distributions(directory: Path) -> tuple[Path, Path]:
    """Return the wheel and the source distribution that it was built from."""
    run(sys.executable, "-m", "build", "--outdir", directory, ROOT, cwd=directory)
    (wheel,), (sdist,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    return wheel, sdist


@dataclass(frozen=True)
class Installation:
    """One environment.

    Attributes:
        directory: Where it is; its home and the working directories of its programs lie beside it.
        extras: What was asked for.
    """

    directory: Path
    extras: tuple[str, ...]

    @classmethod
    def make(cls, directory: Path, *extras: str, wheel: Path) -> Installation:
        """Install the wheel with these extras into a new environment."""
        made = cls(directory, extras)
        # Without pip there: not even that is something a program may lean on.
        run(sys.executable, "-m", "venv", "--without-pip", directory)
        wanted = f"call-transfer[{','.join(extras)}] @ {wheel.as_uri()}" if extras else str(wheel)
        run(sys.executable, "-m", "pip", "--python", made.python, "install", "--quiet", "--no-compile",
            "--constraint", CONSTRAINTS, wanted, cwd=directory)  # fmt: skip
        return made

    @classmethod
    def make_by_lines(cls, lines: list[str], directory: Path, *extras: str, wheel: Path) -> Installation:
        """Run a document's lines, which make an environment `venv` and install from `dist/` into it."""
        (directory / "dist").symlink_to(wheel.parent)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        run("/bin/sh", "-ec", "\n".join(lines), cwd=directory,
            env=os.environ | {"PATH": path, "PIP_CONSTRAINT": CONSTRAINTS.as_uri()})  # fmt: skip
        return cls(directory / "venv", extras)

    @property
    def bin(self) -> Path:
        """Where its programs are."""
        return self.directory / "bin"

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.bin / "python"

    def environment(self) -> dict[str, str]:
        """Return all that its programs see of the one that the tests run in."""
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(home), "USER": "ana"}

    def run(self, *command: str | Path, code: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, outside the tree, to its end."""
        program, *arguments = command
        return run(self.bin / program, *arguments, code=code,
                   **{"env": self.environment(), "cwd": self.directory, **options})  # fmt: skip

    def list_distributions(self) -> dict[str, list[str]]:
        """Return what is installed: normalized names, and what each one requires."""
        found = json.loads(self.run("python", "-I", "-c", _DESCRIBE).stdout)
        return {canonicalize_name(name): requires for name, requires in found.items()}

    def list_declared(self) -> set[str]:
        """Return what our metadata asks for, and what that asks for, to the end."""
        return follow_requirements("call-transfer", self.extras, self.list_distributions())
