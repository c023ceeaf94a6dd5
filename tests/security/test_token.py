"""Attempts to have the REST token, or a login, by the address that it is sent to."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from transfer_worker.exit_codes import Exit
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {"worker": Exit.USAGE, "doctor": Exit.FAILED, "up": Exit.USAGE}
TOKEN = "the-token-of-the-account"


def run(folder: Path, command: str, url: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TRANSFER_", "PIOPIY_"))}
    env |= {"PIOPIY_TOKEN": TOKEN, "PIOPIY_API_URL": url, "TRANSFER_REDIS_URL": "redis://127.0.0.1:1/0"}
    return subprocess.run(
        [sys.executable, "-m", "transfer_worker", command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@rest.piopiy.com/v3",
        "https://hunter2@rest.piopiy.com/v3",
        "http://:hunter2@127.0.0.1/v3",
    ],
)
def test_a_login_in_the_address(tmp_path: Path, command: str, url: str) -> None:
    told = run(tmp_path, command, url)
    assert told.returncode == COMMANDS[command], told.stderr
    assert "PIOPIY_API_URL is wrong: it holds a login" in told.stdout + told.stderr
    assert "hunter2" not in told.stdout + told.stderr
    assert not any("hunter2" in file.read_text() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize("command", COMMANDS)
def test_an_address_without_tls(tmp_path: Path, command: str) -> None:
    """It would work: the sandbox listens on every address of this machine."""
    with SandboxServer(host="0.0.0.0", token=TOKEN) as sandbox:
        port = sandbox.url.rpartition(":")[2]  # and the path
        told = run(tmp_path, command, f"http://0.0.0.0:{port}")
        assert told.returncode == COMMANDS[command], told.stderr
        assert "the token goes out by https:// only" in told.stdout + told.stderr
        assert TOKEN not in told.stdout + told.stderr
        assert sandbox.requests() == []
