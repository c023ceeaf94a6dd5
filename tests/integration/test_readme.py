"""Every snippet of the README does what the README says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import ProcessSpawner
    from support.house import House

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent


def block_with(text: str) -> str:
    """Return the one snippet that contains `text`."""
    (found,) = [body for _, body in BLOCKS if text in body]
    return found


def test_the_publishing_example_runs_as_it_stands(
    house: House, spawn: ProcessSpawner, tmp_path: Path
) -> None:
    house.environment["TRANSFER_DESTINATIONS_FILE"] = str(ROOT / "destinations.example.toml")
    house.start_worker()
    script = tmp_path / "example.py"
    script.write_text(block_with("AsyncTransferPublisher()"))

    example = spawn([sys.executable, script], env={"TRANSFER_REDIS_URL": house.redis_url})

    assert example.wait(15) == 0
    assert example.output().split() == ["submitted", "accepted_by_platform"]


def test_the_lines_for_real_use_run_one_after_the_other(
    house: House, spawn: ProcessSpawner, tmp_path: Path
) -> None:
    for name in (".env.example", "destinations.example.toml"):
        shutil.copy(ROOT / name, tmp_path)
    lines = [line.partition("#")[0].strip() for line in block_with("call-transfer doctor").splitlines()]
    install, *rest = lines
    assert install == 'pip install "call-transfer[worker]"'
    *before, worker_line = rest
    environment = house.worker_environment() | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    for line in before:
        done = spawn(["sh", "-c", line], env=environment, cwd=tmp_path)
        assert done.wait(15) == 0, (line, done.output())
    worker = spawn(worker_line.split(), env=environment, cwd=tmp_path)

    worker.wait_for_output(r"ready\.", deadline_seconds=20)


def test_the_closing_table_is_what_the_demo_prints() -> None:
    shown = {}
    for line in block_with("All ended as they must.").splitlines()[1:-1]:
        asked, to, ended, attempts, posts, _ = (cell.strip() for cell in line.split("│"))
        shown[asked] = (to, ended.split()[0], int(attempts), int(posts))

    run = subprocess.run(
        [BIN / "call-transfer", "demo", "--json"], capture_output=True, text=True, timeout=60, check=True
    )

    results = {result["title"]: result for result in json.loads(run.stdout)["results"]}
    for asked, (to, state, attempts, posts) in shown.items():
        result = results[asked]
        assert (result["to"], result["state"], result["attempts"], result["posts"]) == (
            to,
            state,
            attempts,
            posts,
        )


@pytest.mark.parametrize("target", ["demo", "test", "up", "chaos"])
def test_the_make_targets_exist(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`call-transfer (\w+)", README))))
def test_the_commands_exist_and_explain_themselves(command: str) -> None:
    run = subprocess.run(
        [BIN / "call-transfer", command, "--help"], capture_output=True, text=True, timeout=20, check=False
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_the_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|worker|tasks)/[\w/.]+)`", README))))
def test_the_named_files_exist(path: str) -> None:
    assert (ROOT / path).exists()
