"""What holds for all commands: exit codes, names, reasons of one line."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("no_key_leaks")

NOBODY = "5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8"
"""Not on record. Fixed, so that each process of a test run has the same tests."""


LOOKING = [
    ["status"],
    ["list"],
    ["tail"],
    ["why", NOBODY],
    ["quarantine", "list"],
    ["audit", "verify", __file__],
]


ACTING = [
    ["replay", NOBODY, "--reason", "r"],
    ["resolve", NOBODY, "--transferred", "--reason", "r"],
    ["cancel", NOBODY, "--reason", "r"],
    ["pause", "--all", "--reason", "r"],
    ["resume", "--all"],
    ["acknowledge", NOBODY, "--reason", "r"],
    ["erase", NOBODY, "--reason", "r"],
    ["quarantine", "drop", "--all"],
]


@pytest.mark.parametrize("command", LOOKING + ACTING, ids=" ".join)
def test_a_redis_that_is_away_is_exit_code_3(ask, monkeypatch, command):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")
    answer = ask(*command)
    assert answer.exit_code == 3
    assert answer.stderr.endswith("See: call-transfer doctor\n")


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
def test_nobody_acts_without_a_name(ask, bench, monkeypatch, command):
    monkeypatch.delenv("USER")
    monkeypatch.delenv("LOGNAME", raising=False)
    answer = ask(*command)
    assert answer.exit_code == 2
    assert "--as" in answer.stderr
    assert ask(*command, "--as", "a\nb").exit_code == 2
    assert bench.client.dbsize() == 0


@pytest.mark.parametrize("command", ACTING[:3], ids=" ".join)
def test_what_is_not_on_record_is_exit_code_1(ask, command):
    answer = ask(*command, "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["kind"] == "OperationRefused"


@pytest.mark.parametrize("reason", ["", "  ", "x" * 101, "a\nb", "\u3164", "a\ufe0fb", "a\U000e0041"])
def test_a_reason_is_one_line_that_says_something(ask, bench, reason):
    answer = ask("pause", "--all", "--reason", reason)
    assert (answer.exit_code, "--reason" in answer.stderr) == (2, True)
    assert not bench.client.exists(bench.keys.paused)
