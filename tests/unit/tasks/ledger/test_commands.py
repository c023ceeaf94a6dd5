"""Each script's first statement names its arguments in their order; Python, header and body follow it."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from transfer_tasks.ledger.commands import LedgerCommands
from transfer_tasks.ledger.script import load_script

SCRIPTS = files("transfer_tasks.ledger") / "scripts"
NAMES = sorted(path.name.removesuffix(".lua") for path in SCRIPTS.iterdir() if path.is_file())


def read_own_lines(name):
    return (SCRIPTS / f"{name}.lua").read_text("utf-8").splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_the_header_describes_the_arguments_in_the_order_of_the_first_statement(name):
    lines = read_own_lines(name)
    start = lines.index("-- Arguments:") + 1
    described = []
    for line in lines[start:]:
        if line.strip() == "--" or not line.startswith("--"):
            break
        if argument := re.match(r"^--   (\w+)", line):
            described.append(argument[1])
    assert tuple(described) == load_script(name).arguments


@pytest.mark.parametrize("name", NAMES)
def test_no_script_counts_its_arguments_a_second_time(name):
    code = "\n".join(line for line in read_own_lines(name) if not line.lstrip().startswith("--"))
    assert code.count("ARGV") == 1
    first_statement = code.strip().split(" = unpack(ARGV, 3)")[0]
    assert first_statement.startswith("local ")
    body = code.split("unpack(ARGV, 3)")[1]
    for argument in load_script(name).arguments:
        assert re.search(rf"\b{argument}\b", body), f"{argument} is never used"


def test_values_are_put_into_the_order_of_the_script():
    command = LedgerCommands(namespace="n", retention_seconds=9).cancel(
        "an id", reason="why", source="session", detail="who"
    )
    named = dict(zip(command.script.arguments, command.arguments[2:], strict=True))
    assert command.arguments[:2] == ("n", 9)
    assert named == {"transfer_id": "an id", "reason": "why", "source": "session", "detail": "who"}


@pytest.mark.parametrize("given", [{"transfer_id": "x"}, {"transfer_id": "x", "source": "y", "more": "z"}])
def test_an_argument_missing_or_too_many_is_named(given):
    with pytest.raises(TypeError, match=r"expire\.lua takes transfer_id, source; wrong: (source|more)"):
        load_script("expire").order(given)
