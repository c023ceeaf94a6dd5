"""What every script keeps to; read from its text."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SCRIPTS = files("transfer_tasks.ledger") / "scripts"
TEXTS = {
    file.relative_to(SCRIPTS).as_posix().removesuffix(".lua"): file.read_text("utf-8")
    for file in sorted(SCRIPTS.rglob("*.lua"))
}
WRITERS = {"frame/start", "frame/counters", "frame/finish"}
"""They carry out what the others have collected; counters stop nothing."""

READING = {
    "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "LINDEX", "LLEN", "LPOS",
    "LRANGE", "PTTL", "TIME", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "ZCARD", "ZCOUNT", "ZRANGE",
    "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZSCORE",
}  # fmt: skip

AFTER_COMMIT = {"recover": {"XTRIM", "XACK"}}
"""What needs the reply of a write comes behind a `commit` of its own, and decides nothing."""


@pytest.mark.parametrize(
    "name", [name for name in TEXTS if name not in WRITERS and not name.startswith("usual/")]
)
def test_a_script_reads_only_and_collects_what_is_to_be_written(name):
    before, _, _ = TEXTS[name].partition("\ncommit() ")
    behind = AFTER_COMMIT.get(name, set())
    text = TEXTS[name] if not behind else before

    commands = set(re.findall(r"redis\.p?call\(\s*'(\w+)'", text))

    assert commands <= READING, "write with write(), set() or unset(): scripts/frame/prelude.lua says why"


@pytest.mark.parametrize("name", ["accept", "claim", "end_attempt"])
def test_a_usual_case_has_read_everything_before_its_first_write_which_may_fail(name):
    text = TEXTS[f"usual/{name}"]
    asked = re.findall(r"(?:redis\.(p?call)\(\s*'(\w+)'|= (list_open)\()", text)
    first = next(at for at, (_, command, _) in enumerate(asked) if command not in READING)

    assert asked[first][0] == "pcall" or asked[first][2], "if it fails, nothing is written"
    assert {command for _, command, _ in asked[first + 1 :]} & READING == set()


def test_no_script_hides_the_command_that_it_runs():
    for name, text in TEXTS.items():
        if name not in WRITERS:
            assert len(re.findall(r"redis\.p?call\(", text)) == len(
                re.findall(r"redis\.p?call\(\s*'\w+'", text)
            )
