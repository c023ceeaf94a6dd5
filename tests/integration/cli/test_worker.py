"""`worker`: it is replaced when it dies, and signals end it as they must."""

from __future__ import annotations

import json
import os
import signal

import pytest

from support import wait_until
from support.kinship import descendants, still_running
from support.operating import COMMAND, NUMBER


@pytest.fixture
def start_worker(cluster, tmp_path):
    """Start `call-transfer worker`; return it and the way to its Celery process."""

    def start(**environment):
        worker = cluster.spawn(
            [*COMMAND, "worker", "-c", "2", "--log-level", "INFO"],
            env=cluster.worker_environment() | environment,
            name="call-transfer-worker",
        )

        def celery_pid():
            return next((pid for pid, line in descendants(worker.pid).items() if "celery_command" in line), 0)

        return worker, celery_pid

    return start


def test_a_start_imports_nothing_of_celerys_other_commands(start_worker):
    """Celery's command line imports all of them, Flower and a shell's prompt among them."""
    worker, _ = start_worker(PYTHONPROFILEIMPORTTIME="1")
    await_ready(worker)
    imported = {line.rpartition("|")[2].strip() for line in worker.output().splitlines() if "|" in line}
    assert "transfer_worker.runtime.celery_app" in imported
    assert not {name.partition(".")[0] for name in imported} & {"flower", "prompt_toolkit"}
    assert "celery.bin" not in imported


def await_ready(worker, times=1):
    wait_until(lambda: worker.output().count(" ready.") >= times, message=worker.output)


def log_lines(worker, event):
    lines = [json.loads(line) for line in worker.output().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_a_worker_that_is_killed_is_replaced_and_under_the_same_name(cluster, ask, start_worker, call_id):
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

    def overview():
        return json.loads(ask("status", "--json").stdout)

    wait_until(lambda: [seen.get("restarts") for seen in overview()["workers"]] == [1], message=overview)
    (gone,) = overview()["gone_workers"]
    assert f"/{first}-" in gone["worker"]
    assert overview()["concerns"] == []
    assert ask("send", "--call-id", call_id, "--to", NUMBER).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_its_process_group_lets_the_transfer_in_flight_finish(
    cluster, ask, start_worker, call_id, number
):
    worker, _ = start_worker()
    await_ready(worker)
    cluster.sandbox.controls.script(call_id, ["slow:1"])
    ask("send", "--call-id", call_id, "--to", NUMBER, "--no-wait")
    wait_until(lambda: cluster.sandbox.post_count(call_id))
    family = descendants(worker.pid)
    # Ctrl-C in a terminal reaches the group; the Celery process hears of it once, from us.
    assert all(os.getpgid(pid) != worker.pid for pid in family)
    os.killpg(worker.pid, number)
    assert worker.wait() == 0
    assert not still_running(family)
    assert json.loads(ask("show", call_id, "--json").stdout)["transfers"][0]["state"] == "submitted"
    assert not cluster.ledger().client.keys("transfer:worker:*")  # it took its leave
    assert "Traceback" not in worker.output()


def test_a_second_signal_ends_it_at_once(cluster, ask, start_worker, call_id):
    worker, _ = start_worker()
    await_ready(worker)
    cluster.sandbox.controls.script(call_id, ["silence"])
    ask("send", "--call-id", call_id, "--to", NUMBER, "--no-wait")
    wait_until(lambda: cluster.sandbox.post_count(call_id))
    family = descendants(worker.pid)
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: "worker.stopping" in worker.output())
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
