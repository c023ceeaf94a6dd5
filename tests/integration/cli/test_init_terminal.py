"""`call-transfer init` at a terminal: hidden input, another chance, and Ctrl-C."""

from __future__ import annotations

import os
import sys

import pytest

from support.terminals import Terminal

TOKEN = "the-token-of-the-account"


@pytest.fixture
def at_terminal(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    ours = ("TRANSFER_", "PIOPIY_", "FLOWER_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "transfer_worker", "init", "--redis-url", "redis://127.0.0.1:1/0"]
    with Terminal(command, env=env, cwd=folder) as terminal:
        yield terminal, folder


def test_what_is_missing_is_asked_for_and_the_token_is_not_shown(at_terminal):
    terminal, folder = at_terminal
    terminal.wait_for("REST token")
    terminal.type(f"{TOKEN}\r")
    terminal.wait_for("number that transferred calls show")
    terminal.type("555\r")
    terminal.wait_for("country code")
    terminal.type("+1 202-555-0188\r")
    exit_code, shown = terminal.wait()
    assert exit_code == 0, shown
    assert TOKEN not in shown
    text = (folder / ".env").read_text()
    assert f"\nPIOPIY_TOKEN={TOKEN}\n" in text
    assert "\nPIOPIY_NUMBER=+12025550188\n" in text


def test_no_token_is_the_sandbox(at_terminal):
    terminal, folder = at_terminal
    terminal.wait_for("REST token")
    terminal.type("\r")
    exit_code, shown = terminal.wait()
    assert exit_code == 0, shown
    assert "\nPIOPIY_TOKEN=sandbox-token\n" in (folder / ".env").read_text()


@pytest.mark.parametrize("answers", [[], [f"{TOKEN}\r"]], ids=["at the token", "at the number"])
def test_ctrl_c_writes_nothing(at_terminal, answers):
    terminal, folder = at_terminal
    terminal.wait_for("REST token")
    for answer in answers:
        terminal.type(answer)
        terminal.wait_for("number that transferred calls show")
    exit_code, shown = terminal.press_ctrl_c()
    assert exit_code == 130, shown
    assert "Nothing is written." in shown
    assert "Traceback" not in shown
    assert list(folder.iterdir()) == []
