"""Debian's packages, of any release, without installing them: by this machine's apt, as it is set up."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class NotHere(Exception):
    """This machine can't do it. The text says what is missing; nothing was changed."""


def find_mirror() -> str:
    """Return where this machine's own apt gets Debian from.

    Raises:
        NotHere: It has no apt, or knows no Debian.
    """
    if shutil.which("apt-get") is None or not KEYRING.exists():
        raise NotHere("It takes Debian's apt-get and its keyring (package debian-archive-keyring).")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    sites = [
        site for label, _, site in (line.partition(" ") for line in listed.splitlines()) if label == "Debian"
    ]
    if not sites:
        raise NotHere("The apt of this machine has no list of Debian's packages: run apt-get update.")
    return sites[0]


def unpack(release: str, package: str, folder: Path) -> Path:
    """Unpack a package of a release with all that it depends on, down to the C library; return the folder.

    Raises:
        NotHere: The release has no such package, or it can't be fetched.
    """
    root = folder / f"{release}-{package}"
    if (root / ".complete").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial", "etc", "unpacked"):
        (root / name).mkdir(parents=True)
    (root / "status").touch()
    (root / "etc/sources.list").write_text(f"deb [signed-by={KEYRING}] {find_mirror()} {release} main\n")
    apt = ["apt-get", "-qq", "-o", f"Dir::State={root}/state", "-o", f"Dir::State::status={root}/status"]
    apt += ["-o", f"Dir::Cache={root}/cache", "-o", f"Dir::Etc::sourcelist={root}/etc/sources.list"]
    apt += ["-o", "Dir::Etc::sourceparts=/dev/null", "-o", "APT::Sandbox::User=root"]
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "--download-only", package]):
        done = subprocess.run([*apt, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHere(f"{package} of {release} can't be fetched: {done.stderr.strip()}")
    for archive in sorted((root / "cache/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", archive, root / "unpacked"], check=True)
    shutil.rmtree(root / "cache")
    (root / ".complete").touch()
    return root
