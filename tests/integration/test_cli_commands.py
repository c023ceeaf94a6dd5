"""`send`, `show`, `doctor`, `worker` and `up` on a real Redis, with real workers and the sandbox."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from urllib.parse import urlsplit

import pytest
import redis

from support import urlopen_directly, wait_until
from support.kinship import descendants, still_running
from transfer_worker.local.redis_executable import find_redis_server

COMMAND = [sys.executable, "-m", "transfer_worker"]
NUMBER = "+1 202-555-0143"
NEEDS_RETRY = "+1 202-555-0153"
ANSWERS_404 = "+1 202-555-0104"
REGISTRY = '[support]\ndescription = "Technical support"\nendpoints = ["+1 202-555-0143"]\n'


@pytest.fixture
def call_id():
    return str(uuid.uuid4())


# ---- send


def test_a_transfer_that_is_submitted_is_exit_code_0_and_a_repeat_says_so(house, ask, call_id):
    house.start_worker()
    first = ask("send", "--call-id", call_id, "--to", NUMBER)
    assert first.exit_code == 0, first.output
    transfer_id = re.match(rf"accepted: transfer (\S+) of call {call_id}\n", first.stdout)[1]
    assert "submitted (accepted_by_platform; attempts 1, HTTP 200)" in first.stdout
    again = json.loads(ask("send", "--call-id", call_id.upper(), "--to", NUMBER, "--json").stdout)
    assert (again["transfer_id"], again["is_repeat"]) == (transfer_id, True)
    assert again["outcome"]["state"] == "submitted"
    assert house.sandbox.post_count(call_id) == 1


def test_any_other_ending_is_exit_code_1_with_what_to_do_next(house, ask, call_id):
    house.start_worker()
    answer = ask("send", "--call-id", call_id, "--to", ANSWERS_404)
    assert answer.exit_code == 1
    assert "rejected (call_not_found; attempts 1, HTTP 404)" in answer.stdout
    assert "check the call id" in answer.stdout


def test_without_waiting_accepted_is_enough(house, ask, call_id):
    answer = ask("send", "--call-id", call_id, "--to", "support", "--no-wait", "--json")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert (document["call_id"], document["hop"], document["outcome"]) == (call_id, 1, None)
    assert house.ledger().read(document["transfer_id"]).state == "waiting"


def test_what_is_not_known_in_time_is_exit_code_4_and_the_transfer_goes_on(house, ask, call_id):
    answer = ask("send", "--call-id", call_id, "--to", "support", "--timeout", "0.1", "--json")
    assert answer.exit_code == 4
    document = json.loads(answer.stdout[answer.stdout.index("{") :])
    assert document["error"]["kind"] == "OutcomeTimeout"
    assert document["error"]["transfer_id"] in answer.stderr
    assert house.ledger().read(document["error"]["transfer_id"]).state.is_open


def test_with_no_worker_the_deadline_ends_it(ask, call_id):
    answer = ask("send", "--call-id", call_id, "--to", "support", "--expires-in", "1")
    assert answer.exit_code == 1
    assert "expired (deadline_passed" in answer.stdout


def test_another_transfer_of_the_call_in_the_way_is_exit_code_1_and_nothing_is_queued(ask, call_id):
    ask("send", "--call-id", call_id, "--to", "support", "--no-wait")
    answer = ask("send", "--call-id", call_id, "--to", "sales", "--no-wait", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["kind"] == "TransferInProgress"


def test_a_key_with_other_content_is_exit_code_1(ask):
    for code, destination in enumerate(("support", "sales")):
        other_call = str(uuid.uuid4())
        answer = ask(
            "send", "--call-id", other_call, "--to", destination, "--idempotency-key", "k", "--no-wait"
        )
        assert answer.exit_code == code, answer.output


def test_a_redis_that_is_away_is_exit_code_3(ask, call_id, monkeypatch):
    monkeypatch.setenv("TRANSFER_REDIS_URL", "redis://127.0.0.1:1/0")
    for command in (["send", "--call-id", call_id, "--to", "support"], ["show", call_id]):
        answer = ask(*command)
        assert answer.exit_code == 3, answer.output
        assert re.fullmatch(r"call-transfer: .*call-transfer doctor\n", answer.stderr)


# ---- show


def test_show_tells_the_whole_story_of_a_call_with_every_number_masked(house, ask, call_id):
    house.start_worker()
    for destination in (NEEDS_RETRY, ANSWERS_404):
        ask(
            "send", "--call-id", call_id, "--to", destination, "--requested-by", "ops 202-555-0188",
            "--reason", "call back 202-555-0177", "--metadata", "back=2025550166",
        )  # fmt: skip
    answer = ask("show", call_id, "--json")
    assert answer.exit_code == 0
    first, second = json.loads(answer.stdout)["transfers"]
    assert (first["state"], first["hop"], first["to"]) == ("submitted", 1, "+1*******53")
    assert [(a["http_status"], a["answer"]) for a in first["attempts"]] == [
        (503, {"error": "unavailable"}),
        (200, {"message": "queued"}),
    ]
    assert first["asked"] == {
        "requested_by": "ops *******88",
        "reason": "call back *******77",
        "metadata": {"back": "*******66"},
    }
    assert first["accepted_at"] <= first["claimed_at"] <= first["ended_at"] < first["expires_at"]
    assert (second["state"], second["reason"], second["hop"]) == ("rejected", "call_not_found", 2)
    # The same by the id of any of its transfers, and for people.
    assert ask("show", second["transfer_id"], "--json").stdout == answer.stdout
    text = ask("show", call_id).stdout
    for said in ("Hop 1", "Hop 2", "HTTP 503", "call back *******77", "rejected (call_not_found)"):
        assert said in text


def test_show_says_how_much_time_an_open_transfer_has(ask, call_id):
    ask("send", "--call-id", call_id, "--to", "support", "--expires-in", "60", "--no-wait")
    transfer = json.loads(ask("show", call_id, "--json").stdout)["transfers"][0]
    assert transfer["state"] == "waiting"
    assert 50_000 < transfer["clock_left_ms"] <= 60_000
    assert "clock left" in ask("show", call_id).stdout


@pytest.mark.parametrize("unknown", ["5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8", "no-uuid", "+1 202-555-0143"])
def test_what_is_not_on_record_is_exit_code_1(ask, unknown):
    answer = ask("show", unknown, "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["kind"] == "NotFound"


# ---- doctor


def findings(answer):
    return {finding["check"]: finding for finding in json.loads(answer.stdout)["findings"]}


def test_doctor_finds_nothing_wrong_where_a_worker_can_start(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("PIOPIY_TOKEN", "secret-token")
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    monkeypatch.setenv("TRANSFER_DESTINATIONS_FILE", str(tmp_path / "destinations.toml"))
    answer = ask("doctor", "--json")
    assert answer.exit_code == 0
    found = findings(answer)
    assert {name for name, finding in found.items() if finding["verdict"] == "ok"} == {
        "registry", "packages", "timing", "redis", "eviction", "persistence", "latency", "clocks", "memory",
        "disk",
    }  # fmt: skip
    # Nothing is wrong, and nothing is said that nobody has looked at.
    assert {name: finding["verdict"] for name, finding in found.items() if finding["verdict"] != "ok"} == {
        "token": "not checked",
        "flower": "not checked",
        "workers": "warning",
    }
    assert "secret-token" not in answer.output
    assert "support" in ask("doctor").stdout


def test_doctor_names_every_problem_with_its_mend_and_exit_code_1(ask, monkeypatch, tmp_path, private_redis):
    monkeypatch.setenv("PIOPIY_TOKEN", "a-token")
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    (tmp_path / "destinations.toml").write_text('[support]\ndescription = "x"\nendpoints = ["+1 555 123"]\n')
    monkeypatch.setenv("TRANSFER_DESTINATIONS_FILE", str(tmp_path / "destinations.toml"))
    with redis.Redis.from_url(private_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    answer = ask("doctor", "--json")
    assert answer.exit_code == 1
    wrong = {name for name, finding in findings(answer).items() if finding["verdict"] == "problem"}
    assert wrong == {"registry", "eviction"}
    assert all(findings(answer)[name]["mend"] for name in wrong)
    private_redis.stop()
    assert findings(ask("doctor", "--json"))["latency"]["verdict"] == "problem"


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(redis_url, tmp_path, no_color, is_coloured):
    ours, theirs = pty.openpty()
    env = {
        "PIOPIY_TOKEN": "a-token",
        "TRANSFER_REDIS_URL": redis_url,
        "TERM": "xterm-256color",
        "NO_COLOR": no_color,
    }
    subprocess.run([*COMMAND, "doctor"], stdout=theirs, env={**os.environ, **env}, cwd=tmp_path, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "noeviction" in shown
    assert ("\x1b[32m" in shown) is is_coloured


# ---- worker


@pytest.fixture
def start_worker(house, tmp_path):
    """Start `call-transfer worker`; return it and the way to its Celery process."""

    def start(**environment):
        worker = house.spawn(
            [*COMMAND, "worker", "-c", "2", "--log-level", "INFO"],
            env=house.worker_environment() | environment,
            name="call-transfer-worker",
        )

        def celery_pid():
            return next((pid for pid, line in descendants(worker.pid).items() if "celery_command" in line), 0)

        return worker, celery_pid

    return start


def await_ready(worker, times=1):
    wait_until(lambda: worker.output().count(" ready.") >= times, message=worker.output)


def log_lines(worker, event):
    lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_a_worker_that_is_killed_is_replaced_and_under_the_same_name(house, ask, start_worker, call_id):
    worker, celery_pid = start_worker()
    await_ready(worker)
    first = celery_pid()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: celery_pid() not in (0, first), message=worker.output)
    restarted = wait_until(lambda: log_lines(worker, "worker.restarted"))
    assert [(line["exit_code"], line["wait_seconds"]) for line in restarted] == [(-9, 0.2)]
    await_ready(worker, times=2)
    names = {line["worker"].partition("/")[0] for line in log_lines(worker, "worker.started")}
    assert len(names) == 1
    assert names.pop().startswith(f"transfer-{worker.pid}@")
    assert ask("send", "--call-id", call_id, "--to", NUMBER).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_its_process_group_lets_the_transfer_in_flight_finish(
    house, ask, start_worker, call_id, number
):
    worker, _ = start_worker()
    await_ready(worker)
    house.sandbox.desk.script(call_id, ["slow:1"])
    ask("send", "--call-id", call_id, "--to", NUMBER, "--no-wait")
    wait_until(lambda: house.sandbox.post_count(call_id))
    family = descendants(worker.pid)
    # Ctrl-C in a terminal reaches the group; the Celery process hears of it once, from us.
    assert all(os.getpgid(pid) != worker.pid for pid in family)
    os.killpg(worker.pid, number)
    assert worker.wait() == 0
    assert not still_running(family)
    assert json.loads(ask("show", call_id, "--json").stdout)["transfers"][0]["state"] == "submitted"
    assert not house.ledger().client.keys("transfer:worker:*")  # it took its leave
    assert "Traceback" not in worker.output()


def test_a_second_signal_ends_it_at_once(house, ask, start_worker, call_id):
    worker, _ = start_worker()
    await_ready(worker)
    house.sandbox.desk.script(call_id, ["silence"])
    ask("send", "--call-id", call_id, "--to", NUMBER, "--no-wait")
    wait_until(lambda: house.sandbox.post_count(call_id))
    family = descendants(worker.pid)
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.output())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 1
    assert not still_running(family)


def test_what_it_started_does_not_outlive_a_supervisor_that_is_killed(start_worker):
    worker, _ = start_worker()
    await_ready(worker)
    family = descendants(worker.pid)
    assert len(family) == 1
    worker.send_signal(signal.SIGKILL)
    wait_until(lambda: not still_running(family))


def test_wrong_settings_are_said_once_with_exit_code_2_and_no_restart(start_worker, tmp_path):
    (tmp_path / "destinations.toml").write_text("[support]\n")
    worker, _ = start_worker(TRANSFER_DESTINATIONS_FILE=str(tmp_path / "destinations.toml"))
    assert worker.wait() == 2
    assert worker.output().count("[support] description") == 1
    assert "worker.restarted" not in worker.output()
    worker, _ = start_worker(TRANSFER_REDIS_URL="nonsense", TRANSFER_MAX_ATTEMPTS="0")
    assert worker.wait() == 2
    assert "TRANSFER_REDIS_URL" in worker.output()
    assert "TRANSFER_MAX_ATTEMPTS" in worker.output()
    assert "Traceback" not in worker.output()


# ---- up


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
        timeout=20,
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
    for name in (find_redis_server().name, "transfer_worker worker", "flower"):
        assert name in commands
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait() == 0
    assert up.output().endswith("Ended.\n")
    assert (tmp_path / "data" / "worker.log").read_text().count("Warm shutdown") == 1
    wait_until(lambda: not still_running(family))
    assert "Traceback" not in up.output()


def test_up_says_loudly_that_it_talks_to_the_real_platform(house, start_up, tmp_path):
    # Nothing is sent, and the name leads nowhere.
    (tmp_path / ".env").write_text(
        "PIOPIY_TOKEN=the-token\nPIOPIY_API_URL=https://rest.piopiy.invalid/v3\n"
        f"TRANSFER_REDIS_URL={house.redis_url}\nFLOWER_BASIC_AUTH=on-call:correct-horse\n"
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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


SANDBOX_SETUP = (
    "PIOPIY_TOKEN=sandbox-token\nPIOPIY_API_URL=http://127.0.0.1:{port}/v3\nPIOPIY_NUMBER=+12025550100\n"
)


def test_up_starts_the_sandbox_at_the_address_of_the_set_up(start_up, tmp_path, call_id):
    port = free_port()
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


def test_up_uses_a_sandbox_that_runs_already(house, start_up, tmp_path, call_id):
    (tmp_path / ".env").write_text(SANDBOX_SETUP.format(port=urlsplit(house.sandbox.url).port))
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    start_up()
    ask_with(tmp_path / "data" / "env", "send", "--call-id", call_id, "--to", "support")
    assert house.sandbox.post_count(call_id) == 1


def test_up_writes_no_token_down_that_was_kept_off_the_disk(start_up, tmp_path):
    start_up(PIOPIY_TOKEN="kept-off-the-disk", PIOPIY_API_URL="https://rest.piopiy.invalid/v3")
    written = "".join(
        path.read_text(errors="replace") for path in (tmp_path / "data").iterdir() if path.is_file()
    )
    assert "kept-off-the-disk" not in written
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
