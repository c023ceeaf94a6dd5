"""Every snippet of the README does what the README says, in the environments that it tells people to make."""

from __future__ import annotations

import json
import re
import signal
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.installation import ROOT
from support.ports import pick_free_port
from support.readme import README, block_with, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import ProcessSpawner, SpawnedProcess
    from support.installation import Installation

pytestmark = pytest.mark.timeout(300)

ASK_FOR_HELP = """
import json, sys
from typer.testing import CliRunner
from transfer_worker.cli import app
ask = CliRunner().invoke
print(json.dumps({command: ask(app, [command, "--help"]).exit_code for command in sys.argv[1:]}))
"""


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


def test_the_lines_for_the_sandbox_run_one_after_the_other(
    embedded_install: Installation, spawn: ProcessSpawner, tmp_path: Path
) -> None:
    # At a port of this test's own: another sandbox may run at the usual one.
    environment = {"PIOPIY_API_URL": f"http://127.0.0.1:{pick_free_port()}/v3"}
    machine = Machine(embedded_install, tmp_path, environment, spawn)
    init_line, up_line = lines_of("call-transfer up")
    assert "destinations.toml: support" in machine.do(init_line)

    up = machine.start(up_line)
    up.wait_for_output("Ctrl-C ends everything", deadline_seconds=60)
    read_line, send_line, doctor_line = lines_of(". var/env")
    assert "submitted (accepted_by_platform" in machine.do(f"sh -c '{read_line}; {send_line}'")
    assert "problem" not in machine.do(f"sh -c '{read_line}; {doctor_line}'")

    up.send_signal(signal.SIGINT)
    assert up.wait(30) == 0


def test_the_lines_for_the_platform_run_one_after_the_other(machine: Machine, bare: Installation) -> None:
    machine.do(lines_of("call-transfer up")[0])
    *before, worker_line = lines_of("call-transfer worker")
    for line in before:
        machine.do(line)

    worker = machine.start(worker_line)
    worker.wait_for_output(r"ready\.", deadline_seconds=60)

    # The publishing example runs as it stands, in a voice process's environment.
    (machine.folder / "example.py").write_text(block_with("AsyncTransferPublisher()"))
    assert machine.do("python example.py", installation=bare).split() == ["submitted", "accepted_by_platform"]
    send = send_line().replace("…", str(uuid.uuid4()))
    assert "submitted (accepted_by_platform" in machine.do(send)


def test_the_lines_for_containers_start_with_a_set_up_for_them(machine: Machine) -> None:
    init_line, *docker_lines = lines_of("docker compose up")

    machine.environment.clear()
    machine.do(init_line)

    assert "\nPIOPIY_API_URL=http://sandbox:8900/v3\n" in (machine.folder / ".env").read_text()
    assert (machine.folder / "destinations.toml").is_file()
    assert all(line.startswith("docker compose ") for line in docker_lines)


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


@pytest.mark.parametrize("target", ["demo", "test", "dist", "init", "up", "chaos"])
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
