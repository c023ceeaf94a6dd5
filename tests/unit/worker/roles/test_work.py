"""Whoever takes a step may run what the step runs: scripts, roles and the shipped file say the same."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from transfer_worker.roles import STEPS, Place, Role, fill_users_file, list_commands
from transfer_worker.roles.acl import ASKS_WHETHER, READS, READS_AND_WRITES, WRITES, name_command
from transfer_worker.roles.work import list_uses

ROOT = Path(__file__).parents[4]
SCRIPTS = files("transfer_tasks.ledger") / "scripts"
FRAME = {"start", "names", "counters", "prelude", "limits", "damaged", "connections", "compaction", "finish"}
USUAL = {f"usual/{path.name.removesuffix('.lua')}" for path in (SCRIPTS / "usual").iterdir()}
STEP_NAMES = {path.name.removesuffix(".lua") for path in SCRIPTS.iterdir() if path.is_file()} - FRAME
NAMED = re.compile(
    r"(?:call|write|insert)\((?:\w+, \{ )?\s*'([A-Z]+)'(?:, '(CREATE|CONSUMERS|GROUPS|DELCONSUMER)')?"
)
ONLY_LOOKS = {"audit_backlog", "read_counts"}
COUNT_FOR_LIMITS = {"accept", "claim"}


def commands_in(script: str) -> set[str]:
    """Return the commands that a script's own lines name; `CHANGE` is spelt out as HSET and HDEL."""
    text = (SCRIPTS / f"{script}.lua").read_text("utf-8")
    found = {name_command(filter(None, match)) for match in NAMED.findall(text)}
    return {"hset", "hdel"} | found - {"change"} if "change" in found else found


def test_each_step_has_a_role_that_takes_it_and_no_role_a_step_that_is_not_there():
    assert set().union(*STEPS.values()) == STEP_NAMES


@pytest.mark.parametrize("role", [role for role in Role if STEPS[role]])
def test_a_role_may_run_every_command_of_its_steps(role):
    permitted = {name_command(command) for command in list_commands(role, Place())}
    scripts = set(STEPS[role]) | (FRAME if STEPS[role] - ONLY_LOOKS else set())
    scripts |= {usual for usual in USUAL if usual.removeprefix("usual/") in STEPS[role]}
    if not STEPS[role] & COUNT_FOR_LIMITS:
        scripts.discard("limits")
    if "recover" not in STEPS[role]:
        scripts.discard("compaction")
    needed = {command: script for script in scripts for command in commands_in(script)}
    assert len(needed) > 2
    assert {command: script for command, script in needed.items() if command not in permitted} == {}


@pytest.mark.parametrize("role", Role)
def test_it_is_known_of_each_command_whether_it_reads_or_writes(role):
    kinds = (READS, WRITES, READS_AND_WRITES, ASKS_WHETHER)
    for templates in list_uses(role, Place()).values():
        for template in templates:
            name = name_command(template.split())
            assert sum(name in kind for kind in kinds) == 1, name


def test_the_file_that_is_shipped_is_the_one_that_the_roles_make():
    shipped = (ROOT / "deploy" / "redis-users.acl").read_text("utf-8")
    assert shipped == fill_users_file(Place()), "write it anew: see CONTRIBUTING.md, How to add a Lua step"


def test_a_file_with_passwords_holds_none_of_them():
    text = fill_users_file(Place(), {role: f"secret-of-{role}" for role in Role})
    assert "secret" not in text
    assert text.count(" on #") == len(Role)
