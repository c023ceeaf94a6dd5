"""The bare install is the publisher: nothing of the worker's comes along, and nothing of it is missed.

Proven in an environment of its own, made from a wheel of this project and the pinned versions.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "LICENSE", "README.md", "tasks", "worker")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIST_DISTRIBUTIONS = """
import importlib.metadata, json
names = [found.metadata["Name"].lower().replace("_", "-") for found in importlib.metadata.distributions()]
print(json.dumps(names))
"""
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import transfer_tasks
names = [found.name for found in pkgutil.walk_packages(transfer_tasks.__path__, "transfer_tasks.")]
imported = [name for name in names if name != "transfer_tasks.agent_tool" and importlib.import_module(name)]
print(json.dumps({"imported": imported, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def run(*command, code=0):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The `bin` directory of an environment that holds a bare `pip install .` and nothing else."""
    directory = tmp_path_factory.mktemp("bare")
    source = directory / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    run(sys.executable, "-m", "venv", directory / "venv")
    python = directory / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints" / "worker.txt", source)
    return python.parent


def test_a_bare_install_brings_nothing_of_the_worker_or_the_agent(bare):
    installed = set(json.loads(run(bare / "python", "-c", LIST_DISTRIBUTIONS).stdout))
    assert installed - {"pip", "setuptools"} == {
        "annotated-types",
        "call-transfer",
        "hiredis",
        "phonenumbers",
        "pydantic",
        "pydantic-settings",
        "pydantic-core",
        "python-dotenv",
        "redis",
        "typing-inspection",
        "typing-extensions",
    }


def test_every_module_of_the_publisher_imports_there(bare):
    seen = json.loads(run(bare / "python", "-I", "-W", "error", "-c", IMPORT_ALL).stdout)
    assert "transfer_tasks.errors" in seen["imported"]
    assert "transfer_worker" not in seen["loaded"]


def test_what_is_installed_carries_its_lua_and_its_types(bare):
    package = Path(
        run(bare / "python", "-c", "import transfer_tasks; print(transfer_tasks.__path__[0])").stdout.strip()
    )
    here = ROOT / "tasks" / "transfer_tasks"
    wanted = {path.relative_to(here) for path in here.rglob("*") if path.suffix in {".lua", ".typed", ".py"}}
    installed = {path.relative_to(package) for path in package.rglob("*")}
    assert wanted <= installed


@pytest.mark.parametrize("command", [["call-transfer", "doctor"], ["python", "-m", "transfer_worker"]])
def test_the_command_line_says_in_one_line_what_it_needs(bare, command):
    program, *arguments = command
    done = run(bare / program, *arguments, code=2)
    assert done.stdout == ""
    assert done.stderr == (
        'call-transfer: the command line needs the worker extra: pip install "call-transfer[worker]"\n'
    )
