"""Each way to install brings what it declares and nothing else, and whatever it can start starts there."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from support import urlopen_directly
from support.ports import pick_free_port

if TYPE_CHECKING:
    from support import ProcessSpawner
    from support.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

VENVS_OWN = {"pip", "setuptools"}
IMPORT_ALL = """
import importlib.util, json, pkgutil, sys
names = []
for package in map(importlib.import_module, sys.argv[1:]):
    names += [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
left_out = {"transfer_tasks.agent_tool", *(name for name in names if name.endswith(".__main__"))}
left_out |= {"transfer_worker.monitoring.flowerconfig", "transfer_tasks.testing.plugin"}
if not importlib.util.find_spec("uvicorn"):
    left_out |= {name for name in names if name.startswith("transfer_worker.webhooks.")}
imported = [name for name in names if name not in left_out and importlib.import_module(name)]
print(json.dumps({"imported": imported, "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
                  "from": importlib.import_module(sys.argv[1]).__file__}))
"""
FIND_FLOWER_SETTINGS = """
from importlib.util import find_spec
print(find_spec("transfer_worker.monitoring.flowerconfig").origin)
"""


def test_nothing_is_installed_but_what_is_declared(installation: Installation) -> None:
    installed, declared = set(installation.list_distributions()), installation.list_declared()
    assert installed - VENVS_OWN == declared - VENVS_OWN


def test_the_bare_install_brings_nothing_of_the_worker_or_the_agent(bare: Installation) -> None:
    of_redis = {"async-timeout"} if sys.version_info < (3, 11, 3) else set()
    assert set(bare.list_distributions()) == of_redis | {
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


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("bare", ["transfer_tasks"]),
        ("worker_install", ["transfer_tasks", "transfer_worker"]),
        ("webhooks_install", ["transfer_tasks", "transfer_worker"]),
    ],
)
def test_every_module_imports_there(request: pytest.FixtureRequest, name: str, packages: list[str]) -> None:
    installation = request.getfixturevalue(name)

    seen = json.loads(installation.run("python", "-I", "-W", "error", "-c", IMPORT_ALL, *packages).stdout)

    assert "transfer_tasks.errors" in seen["imported"]
    assert ("transfer_worker.webhooks.server" in seen["imported"]) == (name == "webhooks_install")
    assert seen["from"].startswith(str(installation.directory))
    assert set(packages) == set(seen["loaded"]) & {"transfer_tasks", "transfer_worker"}


@pytest.mark.parametrize("command", [["call-transfer", "doctor"], ["python", "-m", "transfer_worker"]])
def test_the_bare_command_line_says_in_one_line_what_it_needs(bare: Installation, command: list[str]) -> None:
    done = bare.run(*command, code=2)
    assert done.stdout == ""
    assert done.stderr == (
        'call-transfer: the command line needs the worker extra: pip install "call-transfer[worker]"\n'
    )


def test_celerys_own_commands_start_a_worker_and_flower(
    worker_install: Installation, spawn: ProcessSpawner, redis_url: str
) -> None:
    environment = worker_install.environment() | {
        "TRANSFER_REDIS_URL": redis_url,
        "PIOPIY_TOKEN": "sandbox-token",
        "PIOPIY_NUMBER": "12025550199",
        "TRANSFER_ALLOW_UNLISTED": "US",
        "FLOWER_BASIC_AUTH": "on-call:correct-horse",
    }
    celery = [worker_install.bin / "celery", "-A", "transfer_worker"]
    settings = worker_install.run("python", "-c", FIND_FLOWER_SETTINGS).stdout.strip()
    port = pick_free_port()

    worker = spawn([*celery, "worker"], env=environment)
    flower = spawn(
        [*celery, "flower", f"--conf={settings}", f"--port={port}"], env=environment, name="flower"
    )

    worker.wait_for_output(r"ready\.", deadline_seconds=60)
    flower.wait_for_output("Visit me at", deadline_seconds=60)
    with urlopen_directly(f"http://127.0.0.1:{port}/healthcheck", timeout=5) as answer:
        assert answer.status == 200
