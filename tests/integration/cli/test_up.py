"""`up`: everything on one machine, and Ctrl-C ends all of it."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
import uuid
from urllib.parse import urlsplit

import pytest

from support import urlopen_directly, wait_until
from support.kinship import descendants, still_running
from support.operating import COMMAND, REGISTRY
from support.ports import pick_free_port
from support.signing import VOICE_KEY
from support.waiting import DEADLINE_SECONDS
from transfer_worker.local.redis_executable import find_redis_server


@pytest.fixture
def start_up(spawn, tmp_path):
    """Start `call-transfer up` without any setting of the machine's; return it once everything stands."""

    def start(**environment):
        ours = {name: "" for name in os.environ if name.startswith(("TRANSFER_", "PIOPIY_", "FLOWER_"))}
        up = spawn(
            [*COMMAND, "up", "--data-dir", tmp_path / "data"],
            env={**ours, "COLUMNS": "500", **environment},
            cwd=tmp_path,
            name="up",
        )
        up.wait_for_output("Ctrl-C ends everything")
        return up

    return start


def ask_flower(url, path, login=""):
    request = urllib.request.Request(f"{url}{path}")
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urlopen_directly(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def ask_with(env_file, *arguments):
    """Run a command as in a terminal into which the file that `up` wrote was read; return what it says."""
    program = shlex.join([*COMMAND, *arguments])
    run = subprocess.run(
        ["sh", "-c", f". {shlex.quote(str(env_file))}; {program}"],
        env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return run.stdout + run.stderr


def test_up_runs_everything_and_ctrl_c_ends_everything(start_up, tmp_path, call_id):
    up = start_up()
    flower = re.search(r"Flower +(http://127\.0\.0\.1:\d+) +user (\S+), password (\S+)", up.output())
    login = f"{flower[2]}:{flower[3]}"
    assert ask_flower(flower[1], "/workers")[0] == 401
    assert ask_flower(flower[1], "/workers", login)[0] == 200
    # The worker's answers reach Flower, past the guard against poison on the queue.
    wait_until(lambda: "transfer_tasks.transfer_call" in ask_flower(flower[1], "/api/workers", login)[1])
    assert "poison" not in (tmp_path / "data" / "flower.log").read_text()

    env_file = tmp_path / "data" / "env"
    assert env_file.stat().st_mode & 0o777 == 0o600
    # What is in there is enough for every other command, whatever else is set, and in another folder.
    answer = ask_with(env_file, "doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(answer)["findings"]}
    assert {findings[check]["verdict"] for check in ("token", "registry", "workers")} == {"ok"}
    answer = ask_with(env_file, "send", "--call-id", call_id, "--to", "sales")
    assert "submitted (accepted_by_platform; attempts 2" in answer
    up.wait_for_output(r"finished +attempt 2 +submitted")
    audit = tmp_path / "data" / "audit.jsonl"
    wait_until(lambda: audit.read_text().count("transfer.finished") == 1)

    family = descendants(up.pid)
    commands = " ".join(family.values())
    for name in ("(redis|valkey)-server", "transfer_worker worker", "flower"):
        assert re.search(name, commands)
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait() == 0
    assert up.output().endswith("Ended.\n")
    assert (tmp_path / "data" / "worker.log").read_text().count("worker.stopping") == 1
    wait_until(lambda: not still_running(family))
    assert "Traceback" not in up.output()


def test_up_keeps_redis_running_on_its_data(start_up, tmp_path, call_id):
    up = start_up()
    env_file = tmp_path / "data" / "env"
    ask_with(env_file, "send", "--call-id", call_id, "--to", "support")
    (server,) = [
        pid for pid, command in descendants(up.pid).items() if re.search("(redis|valkey)-server", command)
    ]

    os.kill(server, signal.SIGKILL)

    up.wait_for_output(r"Redis has ended \(-9\)\. It is started again on its data: ")
    up.wait_for_output("Redis answers again.")
    assert "accepted_by_platform" in ask_with(env_file, "show", call_id)
    again = ask_with(env_file, "send", "--call-id", str(uuid.uuid4()), "--to", "support")
    assert "submitted (accepted_by_platform" in again
    assert "Traceback" not in up.output()


def test_up_says_loudly_that_it_talks_to_the_real_platform(cluster, start_up, tmp_path):
    # Nothing is sent, and the name leads nowhere.
    (tmp_path / ".env").write_text(
        "PIOPIY_TOKEN=the-token\nPIOPIY_API_URL=https://rest.piopiy.invalid/v3\n"
        f"TRANSFER_REDIS_URL={cluster.redis_url}\nFLOWER_BASIC_AUTH=on-call:correct-horse\n"
        "TRANSFER_PROCESSES=2\nTRANSFER_LOG_LEVEL=ERROR\n"
    )
    up = start_up()
    assert "Worker    call-transfer worker, 2 processes, each restarted whenever it ends" in up.output()
    assert (tmp_path / "data" / "worker.log").read_text().count(" ready.") == 2
    assert "THE REAL PLATFORM: calls are moved at https://rest.piopiy.invalid/v3" in up.output()
    assert find_redis_server().name not in " ".join(descendants(up.pid).values())
    assert "correct-horse" not in up.output()
    family = descendants(up.pid)
    up.send_signal(signal.SIGKILL)
    wait_until(lambda: not still_running(family))


SANDBOX_SETUP = (
    "PIOPIY_TOKEN=sandbox-token\nPIOPIY_API_URL=http://127.0.0.1:{port}/v3\nPIOPIY_NUMBER=+12025550100\n"
    f"TRANSFER_SIGNING_KEY={VOICE_KEY}\nTRANSFER_VERIFY_KEYS={VOICE_KEY}\n"  # as `init` writes them
)


def test_up_starts_the_sandbox_at_the_address_of_the_set_up(start_up, tmp_path, call_id):
    port = pick_free_port()
    (tmp_path / ".env").write_text(SANDBOX_SETUP.format(port=port))
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    up = start_up()
    assert f"Sandbox   http://127.0.0.1:{port}/v3 in place of the real platform" in up.output()
    assert f"Registry  {tmp_path / 'destinations.toml'}" in up.output()
    assert not (tmp_path / "data" / "destinations.toml").exists()
    answer = ask_with(tmp_path / "data" / "env", "send", "--call-id", call_id, "--to", "support")
    assert "submitted (accepted_by_platform" in answer
    started = next(
        line
        for line in (tmp_path / "data" / "worker.log").read_text().splitlines()
        if "worker.started" in line
    )
    assert json.loads(started)["destinations_file"] == str(tmp_path / "destinations.toml")


def test_up_uses_a_sandbox_that_runs_already(cluster, start_up, tmp_path, call_id):
    (tmp_path / ".env").write_text(SANDBOX_SETUP.format(port=urlsplit(cluster.sandbox.url).port))
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    start_up()
    ask_with(tmp_path / "data" / "env", "send", "--call-id", call_id, "--to", "support")
    assert cluster.sandbox.post_count(call_id) == 1


def test_up_writes_no_token_down_that_was_kept_off_the_disk(start_up, tmp_path):
    start_up(
        PIOPIY_TOKEN="kept-off-the-disk",
        PIOPIY_API_URL="https://rest.piopiy.invalid/v3",
        TRANSFER_SIGNING_KEY=VOICE_KEY,
    )
    written = "".join(
        path.read_text(errors="replace") for path in (tmp_path / "data").iterdir() if path.is_file()
    )
    assert "kept-off-the-disk" not in written
    assert VOICE_KEY not in written
    assert "# PIOPIY_TOKEN came from the environment" in (tmp_path / "data" / "env").read_text()


def test_up_lists_every_wrong_setting(spawn, tmp_path):
    up = spawn(
        [*COMMAND, "up", "--data-dir", tmp_path / "data"],
        env={"TRANSFER_REDIS_URL": "nonsense", "PIOPIY_TOKEN": "a-token", "TRANSFER_MAX_ATTEMPTS": "0"},
    )
    assert up.wait() == 2
    assert "TRANSFER_REDIS_URL" in up.output()
    assert "TRANSFER_MAX_ATTEMPTS" in up.output()
    assert "Traceback" not in up.output()
