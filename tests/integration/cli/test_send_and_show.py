"""`send`, `show` and `doctor`: exit codes, JSON, masked numbers."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import uuid

import pytest
import redis

from support.operating import COMMAND, NUMBER, REGISTRY, findings

NEEDS_RETRY = "+1 202-555-0153"


ANSWERS_404 = "+1 202-555-0104"


def test_a_transfer_that_is_submitted_is_exit_code_0_and_a_repeat_says_so(cluster, ask, call_id):
    cluster.start_worker()
    first = ask("send", "--call-id", call_id, "--to", NUMBER)
    assert first.exit_code == 0, first.output
    transfer_id = re.match(rf"accepted: transfer (\S+) of call {call_id}\n", first.stdout)[1]
    assert "submitted (accepted_by_platform; attempts 1, HTTP 200)" in first.stdout
    again = json.loads(ask("send", "--call-id", call_id.upper(), "--to", NUMBER, "--json").stdout)
    assert (again["transfer_id"], again["is_repeat"]) == (transfer_id, True)
    assert again["outcome"]["state"] == "submitted"
    assert cluster.sandbox.post_count(call_id) == 1


def test_any_other_ending_is_exit_code_1_with_what_to_do_next(cluster, ask, call_id):
    cluster.start_worker()
    answer = ask("send", "--call-id", call_id, "--to", ANSWERS_404)
    assert answer.exit_code == 1
    assert "rejected (call_not_found; attempts 1, HTTP 404)" in answer.stdout
    assert "check the call id" in answer.stdout


def test_without_waiting_accepted_is_enough(cluster, ask, call_id):
    answer = ask("send", "--call-id", call_id, "--to", "support", "--no-wait", "--json")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert (document["call_id"], document["hop"], document["outcome"]) == (call_id, 1, None)
    assert cluster.ledger().read(document["transfer_id"]).state == "waiting"


def test_what_is_not_known_in_time_is_exit_code_4_and_the_transfer_goes_on(cluster, ask, call_id):
    answer = ask("send", "--call-id", call_id, "--to", "support", "--timeout", "0.1", "--json")
    assert answer.exit_code == 4
    document = json.loads(answer.stdout[answer.stdout.index("{") :])
    assert document["error"]["kind"] == "OutcomeTimeout"
    assert document["error"]["transfer_id"] in answer.stderr
    assert cluster.ledger().read(document["error"]["transfer_id"]).state.is_open


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


def test_show_tells_the_whole_story_of_a_call_with_every_number_masked(cluster, ask, call_id):
    cluster.start_worker()
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
        "metadata": {"back": "***"},
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


def test_what_is_not_on_record_is_exit_code_1(ask):
    answer = ask("show", "5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8", "--json")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["error"]["kind"] == "OperationRefused"


def test_doctor_finds_nothing_wrong_where_a_worker_can_start(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("PIOPIY_TOKEN", "secret-token")
    monkeypatch.delenv("HTTPS_PROXY", raising=False)  # of whoever runs this; doctor warns of one
    (tmp_path / "destinations.toml").write_text(REGISTRY)
    monkeypatch.setenv("TRANSFER_DESTINATIONS_FILE", str(tmp_path / "destinations.toml"))
    answer = ask("doctor", "--json")
    assert answer.exit_code == 0
    found = findings(answer)
    assert {name for name, finding in found.items() if finding["verdict"] == "ok"} == {
        "registry", "packages", "timing", "redis", "eviction", "persistence", "latency", "clocks", "memory",
        "disk", "audit", "neighbours", "permissions", "records",
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
    assert all(findings(answer)[name]["fix"] for name in wrong)
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
