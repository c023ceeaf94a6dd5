"""Where a machine can't do it, the commands say so, exit with 77 and leave the table alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(script: str, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a command of .ci with nothing on PATH but `path`."""
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / script, *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_what_it_takes_the_machines_are_left_alone(tmp_path):
    page = (ROOT / "docs" / "compatibility.md").read_bytes()

    done = run("machines.py", "--folder", str(tmp_path / "scratch"), path=str(tmp_path))

    assert done.returncode == 77, done.stderr
    assert "debootstrap" in done.stderr or "root" in done.stderr
    assert "The table is left as it is." in done.stderr
    assert (ROOT / "docs" / "compatibility.md").read_bytes() == page


def test_an_image_stands_on_a_debian_with_its_python(monkeypatch, tmp_path):
    import chroot
    import machines

    with pytest.raises(chroot.NotHere, match="names no Python"):
        machines.find_suite("alpine:3", tmp_path)


def test_what_is_no_server_is_said(tmp_path):
    (program := tmp_path / "redis-server").write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)

    done = run("servers.py", "--folder", str(tmp_path / "scratch"), str(program), path=os.environ["PATH"])

    assert done.returncode == 77, done.stdout
    assert "no server that runs here" in done.stderr
