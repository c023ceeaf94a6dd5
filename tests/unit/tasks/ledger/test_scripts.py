"""What every script keeps to; read from its text."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SCRIPTS = files("transfer_tasks.ledger") / "scripts"
FRAME = {"start", "counters", "finish"}
"""They carry out what the others have collected; counters stop nothing."""

USUAL = SCRIPTS / "usual"
NAMES = sorted(file.name.removesuffix(".lua") for file in SCRIPTS.iterdir() if file.is_file())

READING = {
    "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "LINDEX", "LLEN", "LPOS",
    "LRANGE", "TIME", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "ZCARD", "ZCOUNT", "ZRANGE",
    "ZRANGEBYSCORE", "ZSCORE",
}  # fmt: skip

AFTER_COMMIT = {"recover": {"XTRIM", "XACK"}}
"""What needs the reply of a write comes behind a `commit` of its own, and decides nothing."""


@pytest.mark.parametrize("name", NAMES)
def test_a_script_reads_only_and_collects_what_is_to_be_written(name):
    if name in FRAME:
        return
    before, _, _ = (SCRIPTS / f"{name}.lua").read_text("utf-8").partition("\ncommit() ")
    behind = AFTER_COMMIT.get(name, set())
    text = (SCRIPTS / f"{name}.lua").read_text("utf-8") if not behind else before

    commands = set(re.findall(r"redis\.p?call\(\s*'(\w+)'", text))

    assert commands <= READING, "write with write(), set() or unset(): scripts/prelude.lua says why"


@pytest.mark.parametrize("name", ["accept", "claim", "end_attempt"])
def test_a_usual_case_has_read_everything_before_its_first_write_which_may_fail(name):
    text = (USUAL / f"{name}.lua").read_text("utf-8")
    asked = re.findall(r"redis\.(p?call)\(\s*'(\w+)'", text)
    first = next(at for at, (_, command) in enumerate(asked) if command not in READING)

    assert asked[first][0] == "pcall", "if it fails, nothing is written, and the whole step says why"
    assert {command for _, command in asked[first + 1 :]} & READING == set()
    assert "return nil" not in text[text.index(f"redis.pcall('{asked[first][1]}'") :].split("\n", 2)[2]


def test_no_script_hides_the_command_that_it_runs():
    for file in (*SCRIPTS.iterdir(), *USUAL.iterdir()):
        if file.is_file() and file.name.removesuffix(".lua") not in FRAME:
            text = file.read_text("utf-8")
            assert len(re.findall(r"redis\.p?call\(", text)) == len(
                re.findall(r"redis\.p?call\(\s*'\w+'", text)
            )
