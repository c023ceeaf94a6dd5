"""`doctor`: what it asks of a sandbox, never of the platform, and what the workers have heard."""

from __future__ import annotations

import json
import os
import uuid

import pytest

from support.far_end import FarEnd, make_answer
from transfer_tasks.outcome import Reason, State

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def examine(ask):
    answer = ask("doctor", "--json")
    return answer.exit_code, {f["check"]: f for f in json.loads(answer.stdout)["findings"]}


@pytest.fixture
def settings(cluster, ask, monkeypatch):
    """The worker's settings in our environment."""
    for name, value in cluster.worker_environment().items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("FLOWER_")]:
        monkeypatch.delenv(name)
    return monkeypatch.setenv


def test_doctor_asks_a_sandbox_whether_it_takes_the_token(ask, settings, worker):
    settings("FLOWER_BASIC_AUTH", "on-call:correct-horse")
    settings("HTTP_PROXY", "http://127.0.0.1:1")  # the workers use no proxy of the environment
    exit_code, found = examine(ask)
    assert exit_code == 0
    assert {name for name, finding in found.items() if finding["verdict"] != "ok"} == {"registry"}
    settings("PIOPIY_TOKEN", "another")
    exit_code, found = examine(ask)
    assert exit_code == 1
    assert "refuses PIOPIY_TOKEN" in found["token"]["seen"]


def test_doctor_never_asks_the_platform_and_says_what_the_workers_heard(ask, settings, bench):
    settings("PIOPIY_API_URL", "https://rest.piopiy.com/v3")
    assert examine(ask)[1]["token"]["verdict"] == "not checked"
    bench.end(bench.begin_first(str(uuid.uuid4())))
    assert "accepted 1 times in the last hour" in examine(ask)[1]["token"]["seen"]
    bench.end(bench.begin_first(str(uuid.uuid4())), State.REJECTED, Reason.UNAUTHORIZED, http_status=401)
    exit_code, found = examine(ask)
    assert (exit_code, found["token"]["verdict"]) == (1, "problem")
    assert "refused 1 times in the last 5 minutes" in found["token"]["seen"]


def test_doctor_sends_no_request_through_a_tunnel_that_only_looks_like_a_sandbox(ask, settings):
    with FarEnd(lambda connection, _: connection.sendall(make_answer(404, b"{}"))) as tunnel:
        settings("PIOPIY_API_URL", tunnel.url)
        assert examine(ask)[1]["token"]["verdict"] == "not checked"
        assert [request.line for request in tunnel.requests] == ["GET /_sandbox/health HTTP/1.1"]


def test_doctor_says_whether_flower_is_safe(ask, settings):
    assert examine(ask)[1]["flower"]["verdict"] == "not checked"
    settings("FLOWER_BASIC_AUTH", "on-call:correct-horse")
    assert examine(ask)[1]["flower"]["verdict"] == "ok"
    settings("FLOWER_ADDRESS", "0.0.0.0")
    settings("FLOWER_READ_ONLY", "false")
    seen = examine(ask)[1]["flower"]
    assert seen["verdict"] == "warning"
    assert seen["seen"] == "it listens on 0.0.0.0 and lets everybody who logs in stop workers"
    assert "secret" not in ask("doctor").output


def test_doctor_compares_the_workers_version_with_its_own(ask, settings, bench):
    assert "none gives a sign of life" in examine(ask)[1]["workers"]["seen"]
    bench.run(
        bench.commands.heartbeat(
            worker="w1", lease_ms=60_000, about_json='{"version": "0.0.1"}', queue="transfers"
        )
    )
    seen = examine(ask)[1]["workers"]
    assert (seen["verdict"], "some of version 0.0.1" in seen["seen"]) == ("warning", True)


def test_without_a_workers_settings_all_the_rest_is_looked_at(ask, settings, worker, bench, monkeypatch):
    bench.end(bench.begin_first(str(uuid.uuid4())), State.REJECTED, Reason.UNAUTHORIZED, http_status=401)
    monkeypatch.delenv("PIOPIY_TOKEN")
    settings("TRANSFER_MAX_ATTEMPTS", "0")

    exit_code, found = examine(ask)

    assert exit_code == 1
    assert "PIOPIY_TOKEN is not set" in found["settings"]["seen"]
    assert "TRANSFER_MAX_ATTEMPTS" in found["settings"]["seen"]
    assert found["redis"]["verdict"] == "ok"
    assert found["workers"]["seen"].startswith("1, all of version")
    assert "the workers' token was refused 1 times" in found["token"]["seen"]
