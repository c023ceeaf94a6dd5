"""Try call-transfer on clean machines: `make test-machines`. It takes root, mounts and minutes.

Usage: python .ci/machines.py [--folder FOLDER] [trixie] [sid] [image]

trixie, sid: a minimal Debian by debootstrap, with Python and make and nothing else: `make demo`, and the
stages lint, unit, contract and install. image: the Dockerfile's own lines, carried out in a Debian with the
Python that FROM names; then each service of docker-compose.yml in it, as uid 10001 on a read-only root.
FOLDER keeps the bases and the logs. Rows of docs/compatibility.md are written for what was green.
Exit codes: 0 all green, 1 not, 77 not possible here.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dockerfile
import image as images
from chroot import Chroot, check_abilities, copy_base, copy_tree, install, make_base
from debian import NotHere
from stages import STAGES
from table import update_table

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
BARE = ["ca-certificates", "make", "python3", "python3-venv"]
FOR_TESTS = ["procps"]
"""`ps`, by which tests see that no process is left."""

AS_IMAGE = ["ca-certificates", "python-is-python3", "python3", "python3-venv"]
"""What the official Python images have, too."""

WANTED_STAGES = [name for name in ("lint", "unit", "contract", "install") if name in STAGES]
PLACE = "/srv/call-transfer"
COMPOSE_TESTS = "tests/integration/test_compose_commands.py"
CANNOT = 77


class Failed(Exception):
    """A machine is not green. The text says what failed, and where its output is."""


def try_debian(suite: str, folder: Path) -> list[str]:
    """Run the demo and the stages on a fresh Debian; return the table's row.

    Raises:
        Failed: Something is not green.
    """
    log = folder / f"{suite}.log"
    log.unlink(missing_ok=True)
    system = copy_base(make_base(suite, folder), folder / f"work-{suite}")
    install(system, BARE, log)
    copy_tree(ROOT, system.root / PLACE.lstrip("/"))
    results = [_check(system, "make demo", ["make", "demo"], log)]
    install(system, FOR_TESTS, log)
    results += [
        _check(system, stage, [".venv/bin/python", ".ci/stages.py", stage], log) for stage in WANTED_STAGES
    ]
    name = (system.root / "etc/debian_version").read_text().strip()
    return [f"Debian {suite} ({name})", _python_version(system), "; ".join(results), _today()]


def try_image(folder: Path) -> list[str]:
    """Carry out the Dockerfile and run the services of docker-compose.yml in it; return the table's row.

    Raises:
        Failed: Something is not green.
    """
    log, context = folder / "image.log", folder / "context"
    log.unlink(missing_ok=True)
    shutil.rmtree(context, ignore_errors=True)
    copy_tree(ROOT, context)
    dockerfile.leave_out_ignored(context)
    bases = {}

    def start(base: str, name: str) -> Chroot:
        bases[base] = suite = find_suite(base, folder)
        system = copy_base(make_base(suite, folder), folder / f"image-{name}")
        install(system, AS_IMAGE, log)
        return system

    started = time.monotonic()
    try:
        image = dockerfile.build((ROOT / "Dockerfile").read_text("utf-8"), context, start, log)
    except subprocess.CalledProcessError as error:
        raise Failed(f"image: {error.cmd} failed with exit code {error.returncode}; see {log}") from error
    print(f"image: built in {time.monotonic() - started:.0f} s", flush=True)
    description = folder / "image.json"
    images.save(image, description)
    with log.open("a") as output:
        code = subprocess.run(
            [sys.executable, "-m", "pytest", COMPOSE_TESTS],
            cwd=ROOT,
            env=os.environ | {"CALL_TRANSFER_IMAGE": str(description)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        raise Failed(f"image: its services are not green; see {log}")
    base, suite = list(bases.items())[-1]
    counts = _count_tests(log.read_text("utf-8", "replace"))
    results = f"built; every service as {image.user}, read-only: {counts}"
    return [f"Dockerfile (Debian {suite} for `{base}`)", _python_version(image.system), results, _today()]


def find_suite(base: str, folder: Path) -> str:
    """Return the Debian that stands for a base image: its own, or the one that has its Python.

    Raises:
        NotHere: None has it.
    """
    found = re.fullmatch(r"(?:\S+/)?python:(\d+\.\d+)[\d.]*-slim-(\w+)(?:@\S+)?", base)
    if found is None:
        raise NotHere(f"FROM {base} names no Python and no Debian that could stand for it")
    version, suite = found.groups()
    for candidate in dict.fromkeys((suite, "bookworm", "trixie", "sid")):
        call = make_base(candidate, folder).make_command(
            ["apt-cache", "show", "--no-all-versions", "python3"]
        )
        shown = subprocess.run(call, capture_output=True, text=True, check=True).stdout
        if re.search(rf"^Version: {re.escape(version)}\.", shown, re.MULTILINE):
            return candidate
    raise NotHere(f"no Debian has Python {version}, which FROM {base} names")


def _check(system: Chroot, name: str, command: list[str], log: Path) -> str:
    """Run a command in a Debian; return what the table says of it.

    Raises:
        Failed: Its exit code is not 0.
    """
    with log.open("a") as output:
        output.write(f"\n### {name}\n")
    begun_bytes, started = log.stat().st_size, time.monotonic()
    code = system.run(command, folder=PLACE, log=log)
    seconds = time.monotonic() - started
    print(f"{log.stem}: {name}: {'ok' if not code else f'exit code {code}'} in {seconds:.0f} s", flush=True)
    if code:
        raise Failed(f"{log.stem}: {name} ended with exit code {code}; see {log}")
    counts = _count_tests(log.read_bytes()[begun_bytes:].decode("utf-8", "replace"))
    return f"{name} ({counts})" if counts else name


def _count_tests(text: str) -> str:
    """Return how many tests passed, of all the runs in a log."""
    passed = [int(count) for count in re.findall(r"^=+ .*?(\d+) passed.* in ", text, re.MULTILINE)]
    return f"{sum(passed)} tests" if passed else ""


def _python_version(system: Chroot) -> str:
    call = system.make_command(["python3", "--version"])
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1]


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()


def main(arguments: list[str]) -> int:
    """Try the machines; write the table's rows for those that are green."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, help="where systems and logs are kept; a temporary one otherwise"
    )
    parser.add_argument("machine", nargs="*", choices=["trixie", "sid", "image", []])
    asked = parser.parse_args(arguments)
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="call-transfer-machines-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tries: dict[str, Callable[[], list[str]]] = {
        "trixie": lambda: try_debian("trixie", folder),
        "sid": lambda: try_debian("sid", folder),
        "image": lambda: try_image(folder),
    }
    failures = []
    for name in asked.machine or tries:
        try:
            check_abilities(folder)
            update_table("machines", [tries[name]()])
        except NotHere as problem:
            print(f"{problem}\nThe table is left as it is.", file=sys.stderr)
            return CANNOT
        except (Failed, dockerfile.NotUnderstood) as problem:
            failures.append(str(problem))
    print("\n".join(failures or ["All green."]), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
