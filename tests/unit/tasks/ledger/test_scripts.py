"""What every script keeps to; read from its text."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SCRIPTS = files("transfer_tasks.ledger") / "scripts"
FRAME = {"finish"}
"""Carries out what the others have collected."""

READING = {
    "EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "LINDEX", "LLEN", "LPOS",
    "LRANGE", "TIME", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE", "ZCARD", "ZCOUNT", "ZRANGE",
    "ZRANGEBYSCORE", "ZSCORE",
}  # fmt: skip

AFTER_COMMIT = {"recover": {"XTRIM", "XACK"}}
"""What needs the reply of a write comes behind a `commit` of its own, and decides nothing."""


@pytest.mark.parametrize("name", sorted(file.name.removesuffix(".lua") for file in SCRIPTS.iterdir()))
def test_a_script_reads_only_and_collects_what_is_to_be_written(name):
    if name in FRAME:
        return
    before, _, _ = (SCRIPTS / f"{name}.lua").read_text("utf-8").partition("\ncommit() ")
    behind = AFTER_COMMIT.get(name, set())
    text = (SCRIPTS / f"{name}.lua").read_text("utf-8") if not behind else before

    commands = set(re.findall(r"redis\.p?call\(\s*'(\w+)'", text))

    assert commands <= READING, "write with write(), set() or unset(): scripts/prelude.lua says why"


def test_no_script_hides_the_command_that_it_runs():
    for file in SCRIPTS.iterdir():
        if file.name.removesuffix(".lua") not in FRAME:
            text = file.read_text("utf-8")
            assert len(re.findall(r"redis\.p?call\(", text)) == len(
                re.findall(r"redis\.p?call\(\s*'\w+'", text)
            )
