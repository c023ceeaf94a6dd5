"""Every snippet of the README does what the README says, in the environments that it tells people to make."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.installation import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import ProcessSpawner, SpawnedProcess
    from support.installation import Installation

pytestmark = pytest.mark.timeout(300)

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
ASK_FOR_HELP = """
import json, sys
from typer.testing import CliRunner
from transfer_worker.cli import app
ask = CliRunner().invoke
print(json.dumps({command: ask(app, [command, "--help"]).exit_code for command in sys.argv[1:]}))
"""


def block_with(text: str) -> str:
    """Return the one snippet that contains `text`."""
    (found,) = [body for _, body in BLOCKS if text in body]
    return found


@dataclass(frozen=True)
class Machine:
    """A folder of a user's with an installation; everything runs in that folder."""

    installation: Installation
    folder: Path
    environment: dict[str, str]
    spawn: ProcessSpawner

    def start(self, line: str, *, installation: Installation | None = None) -> SpawnedProcess:
        """Start a line as a shell would."""
        where = installation or self.installation
        return self.spawn(
            ["sh", "-c", f"exec {line}"],
            env=where.environment() | self.environment,
            cwd=self.folder,
            name=line.split()[0],
        )

    def do(self, line: str, *, installation: Installation | None = None) -> str:
        """Run a line to its end, which must be good; return what it printed."""
        done = self.start(line, installation=installation)
        assert done.wait(60) == 0, (line, done.output())
        return done.output()


@pytest.fixture
def machine(worker_install: Installation, redis_url: str, spawn: ProcessSpawner, tmp_path: Path) -> Machine:
    """The machine of a worker, with a Redis, and the installation's own sandbox for Piopiy."""
    folder = tmp_path / "machine"
    folder.mkdir()
    made = Machine(worker_install, folder, {"TRANSFER_REDIS_URL": redis_url}, spawn)
    sandbox = made.start("call-transfer sandbox --port 0")
    url = sandbox.wait_for_output(r"http://127\.0\.0\.1:\d+/v3", deadline_seconds=60)[0]
    made.environment.update(
        PIOPIY_API_URL=url,
        PIOPIY_TOKEN="sandbox-token",
        PIOPIY_NUMBER="12025550199",
    )
    return made


def test_the_lines_for_real_use_run_one_after_the_other(machine: Machine, bare: Installation) -> None:
    for name in (".env.example", "destinations.example.toml"):
        (machine.folder / name).write_bytes((ROOT / name).read_bytes())
    machine.environment["TRANSFER_DESTINATIONS_FILE"] = "destinations.toml"
    lines = [line.partition("#")[0].strip() for line in block_with("call-transfer doctor").splitlines()]
    install, *before, worker_line = lines
    assert install == 'pip install "call-transfer[worker]"'  # done, from the wheel
    for line in before:
        machine.do(line)

    worker = machine.start(worker_line)
    worker.wait_for_output(r"ready\.", deadline_seconds=60)

    # The publishing example runs as it stands, in a voice process's environment.
    (machine.folder / "example.py").write_text(block_with("AsyncTransferPublisher()"))
    assert machine.do("python example.py", installation=bare).split() == ["submitted", "accepted_by_platform"]
    send = send_line().replace("…", str(uuid.uuid4()))
    assert "submitted (accepted_by_platform" in machine.do(send)


def send_line() -> str:
    (found,) = re.findall(r"`(call-transfer send [^`]+)`", README)
    return str(found)


def test_the_closing_table_is_what_the_demo_prints(embedded_install: Installation) -> None:
    run = embedded_install.run("call-transfer", "demo", "--json", timeout=120)

    results = {result["title"]: result for result in json.loads(run.stdout)["results"]}
    for asked, *shown in closing_table():
        result = results[asked]
        assert shown == [result["to"], result["state"], result["attempts"], result["posts"]]


def closing_table() -> Iterator[tuple[str, str, str, int, int]]:
    for line in block_with("All ended as they must.").splitlines()[1:-1]:
        asked, to, ended, attempts, posts, _ = (cell.strip() for cell in line.split("│"))
        yield asked, to, ended.split()[0], int(attempts), int(posts)


@pytest.mark.parametrize("target", ["demo", "test", "up", "chaos"])
def test_the_make_targets_exist(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_commands_exist_and_explain_themselves(worker_install: Installation) -> None:
    commands = sorted(set(re.findall(r"`call-transfer (\w+)", README)))

    exit_codes = json.loads(worker_install.run("python", "-c", ASK_FOR_HELP, *commands).stdout)

    assert exit_codes == dict.fromkeys(commands, 0)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_the_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|worker|tasks)/[\w/.]+)`", README))))
def test_the_named_files_exist(path: str) -> None:
    assert (ROOT / path).exists()
