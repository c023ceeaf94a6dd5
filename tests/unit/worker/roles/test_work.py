"""Whoever takes a step may run what the step runs: scripts, roles and the shipped file say the same."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from transfer_tasks.ledger.script import load_script
from transfer_worker.roles import STEPS, Place, Role, fill_users_file, list_commands
from transfer_worker.roles.acl import ASKS_WHETHER, READS, READS_AND_WRITES, WRITES, name_command
from transfer_worker.roles.work import list_uses

ROOT = Path(__file__).parents[4]
SCRIPTS = files("transfer_tasks.ledger") / "scripts"
STEP_NAMES = {path.name.removesuffix(".lua") for path in SCRIPTS.iterdir() if path.is_file()}
NAMED = re.compile(
    r"(?:call|write|insert)\((?:\w+, \{ )?\s*'([A-Z]+)'(?:, '(CREATE|CONSUMERS|GROUPS|DELCONSUMER)')?"
)
ONLY_LOOKS = {"audit_backlog", "read_counts"}
"""They collect nothing that is to be written: what the frame writes is none of theirs."""


def commands_in(step: str) -> set[str]:
    """Return the commands that a step and its frame name; `CHANGE` is spelt out as HSET and HDEL."""
    text = (SCRIPTS / f"{step}.lua").read_text("utf-8") if step in ONLY_LOOKS else load_script(step).source
    found = {name_command(filter(None, match)) for match in NAMED.findall(text)}
    return {"hset", "hdel"} | found - {"change"} if "change" in found else found


def test_each_step_has_a_role_that_takes_it_and_no_role_a_step_that_is_not_there():
    assert set().union(*STEPS.values()) == STEP_NAMES


@pytest.mark.parametrize("role", [role for role in Role if STEPS[role]])
def test_a_role_may_run_every_command_of_its_steps(role):
    permitted = {name_command(command) for command in list_commands(role, Place())}
    needed = {command: step for step in STEPS[role] for command in commands_in(step)}
    assert len(needed) > 2
    assert {command: step for command, step in needed.items() if command not in permitted} == {}


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
