"""Other systems in a folder of this one: Debian releases, entered by chroot.

A run gets mounts and processes of its own (namespaces): when it ends, however it ends, nothing of it is left.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from debian import KEYRING, NotHere, find_mirror

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ENTER = """\
set -e
root=$1 access=$2 user=$3 folder=$4
shift 4
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    # As Docker does: what is mounted on is made where it is missing.
    if [ -d "$1" ]; then mkdir -p "$root$2"; elif [ ! -e "$root$2" ]; then
        mkdir -p "$(dirname "$root$2")"
        : > "$root$2"
    fi
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o "remount,bind,$3" "$root$2"
    shift 3
done
shift
[ "$access" = rw ] || mount -o "remount,bind,$access" "$root"
exec chroot --userspec="$user" "$root" /usr/bin/env --chdir="$folder" -i "$@"
"""


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine, seen in the other."""

    source: Path
    target: str
    is_read_only: bool = False


@dataclass
class Chroot:
    """A system in a folder.

    Attributes:
        root: The folder.
        environment: What every run gets.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH, "LANG": "C.UTF-8"})

    def make_command(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: str = "/",
        user: str = "0:0",
        is_read_only: bool = False,
        mounts: Sequence[Mount] = (),
    ) -> list[str]:
        """Return what runs a command in there; end that, and all that it started ends."""
        listed = [
            part
            for mount in mounts
            for part in (str(mount.source), mount.target, "ro" if mount.is_read_only else "rw")
        ]
        variables = [
            f"{name}={value}" for name, value in (self.environment | dict(environment or {})).items()
        ]
        return [
            *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
            *("/bin/sh", "-c", _ENTER, "sh", str(self.root), "ro" if is_read_only else "rw", user, folder),
            *(*listed, "--", *variables, *command),
        ]

    def run(self, command: Sequence[str], *, log: Path | None = None, **options: object) -> int:
        """Run a command to its end; return its exit code. Its output goes to the end of `log`, or to ours."""
        call = self.make_command(command, **options)  # type: ignore[arg-type]
        if log is None:
            return subprocess.run(call, stdin=subprocess.DEVNULL, check=False).returncode
        with log.open("a") as output:
            return subprocess.run(
                call, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode


def check_abilities(scratch: Path) -> None:
    """Say what this machine lacks to enter another system.

    Raises:
        NotHere: It lacks something.
    """
    if os.geteuid():
        raise NotHere("Only root may enter another system: run it as root.")
    for program, package in {
        "debootstrap": "debootstrap",
        "unshare": "util-linux",
        "chroot": "coreutils",
    }.items():
        if shutil.which(program) is None:
            raise NotHere(f"There is no {program}: apt-get install {package}")
    probe = ["unshare", "--mount", "--pid", "--fork", "mount", "--bind", str(scratch), str(scratch)]
    if (done := subprocess.run(probe, capture_output=True, text=True, check=False)).returncode:
        raise NotHere(f"This machine lets nobody mount: {done.stderr.strip()}")


def make_base(suite: str, folder: Path) -> Chroot:
    """Make a minimal Debian that knows its packages, once.

    Raises:
        NotHere: It can't be made; the text has the end of its log.
    """
    system, stamp = Chroot(folder / f"base-{suite}"), folder / f"base-{suite}.complete"
    if stamp.exists():
        share_access(system)
        return system
    print(f"Making a minimal Debian {suite} in {system.root} (once)", flush=True)
    shutil.rmtree(system.root, ignore_errors=True)
    log = folder / f"base-{suite}.log"
    with log.open("w") as output:
        code = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", suite, system.root, find_mirror()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if not code:
        share_access(system)
        code = system.run(["apt-get", "-q", "update"], log=log)
    if code:
        raise NotHere(f"Debian {suite} could not be made; the end of {log}:\n{log.read_text()[-800:]}")
    stamp.touch()
    return system


def install(system: Chroot, packages: Sequence[str], log: Path) -> None:
    """Install Debian's packages in a system.

    Raises:
        NotHere: They can't be had.
    """
    command = ["apt-get", "-q", "install", "--yes", "--no-install-recommends", *packages]
    if system.run(command, log=log, environment={"DEBIAN_FRONTEND": "noninteractive"}):
        raise NotHere(f"{' '.join(packages)} could not be installed; see {log}")
    share_access(system)  # packages bring certificates of their own


def copy_base(base: Chroot, root: Path) -> Chroot:
    """Return a fresh copy of a base, with this machine's ways to the package registries."""
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", base.root, root], check=True)
    system = Chroot(root)
    share_access(system)
    return system


def share_access(system: Chroot) -> None:
    """Let a system reach the package registries as this one does: by its pip's and apt's settings.

    All of it is read from this machine now, and goes into the scratch folder and nowhere else.
    """
    files = {Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/ssl/certs/ca-certificates.crt")}
    files |= {
        path
        for path in Path("/etc/apt/apt.conf.d").glob("*")
        if "Acquire::" in path.read_text("utf-8", "replace")
    }
    pip = [sys.executable, "-m", "pip", "config"]
    debug = subprocess.run([*pip, "debug"], capture_output=True, text=True, check=False).stdout
    files |= {Path(path) for path in re.findall(r"^\s*(/.*), exists: True$", debug, re.MULTILINE)}
    settings = subprocess.run([*pip, "list"], capture_output=True, text=True, check=False).stdout
    files |= {Path(path) for path in re.findall(r"'(/[^']*)'", settings)}
    passed = {
        name: value
        for name, value in os.environ.items()
        if re.fullmatch(
            r"PIP_\w+|(?i:https?|all|no)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE", name
        )
    }
    files |= {Path(value) for value in passed.values() if value.startswith("/")}
    for path in files:
        if path.is_file():
            target = system.root / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.resolve(), target)
    system.environment |= passed | {"HOME": str(Path.home())}


def copy_tree(tree: Path, target: Path) -> None:
    """Copy the files of the repository, as they are now, and nothing that is not part of it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tree,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (tree / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, target / name, follow_symlinks=False)
