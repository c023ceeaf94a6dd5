"""What the code imports, pyproject.toml declares: nothing comes along by luck."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OWN = {"transfer_tasks", "transfer_worker"}
# The voice process's; looked for at run time, and never installed beside the worker.
OPTIONAL = {
    "tasks/transfer_tasks/agent_tool.py": {"piopiy"},
    "tasks/transfer_tasks/testing/plugin.py": {"pytest"},  # who loads it has it
}
OFFERED = metadata.packages_distributions()


def list_declared(*extras):
    requirements = list(PROJECT["dependencies"])
    for extra in extras:
        requirements += PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def find_imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folder", "extras"), [("tasks/transfer_tasks", ()), ("worker/transfer_worker", ("worker", "webhooks"))]
)
def test_every_imported_distribution_is_declared(folder, extras):
    declared = list_declared(*extras)
    undeclared = {}
    for path in (ROOT / folder).rglob("*.py"):
        name = str(path.relative_to(ROOT))
        for module in set(find_imports(path)) - OWN - sys.stdlib_module_names - OPTIONAL.get(name, set()):
            offered_by = {canonicalize_name(found) for found in OFFERED.get(module, [])}
            if not offered_by & declared:
                undeclared.setdefault(module, []).append(name)
    assert undeclared == {}
