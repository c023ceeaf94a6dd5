"""`tail`: the audit log, readable and masked, also through an outage of Redis."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest

from support import wait_until
from support.operating import COMMAND, send, stop_with_ctrl_c

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def test_tail_shows_the_last_lines_readable_and_masked(ask, worker, bench):
    call_id = str(uuid.uuid4())
    asked = ("--requested-by", "ops 202-555-0188", "--reason", "call back 202-555-0177")
    send(ask, "support", *asked, call_id=call_id)
    send(ask, "gone")

    text = ask("tail", "--no-follow").stdout
    lines = ask("tail", "--no-follow", "--call", call_id.upper(), "--json", "-n", "100").stdout.splitlines()

    assert "rejected reason=call_not_found" in text
    assert "requested_by=ops *******88" in text
    events = [json.loads(line) for line in lines]
    assert [line["event"] for line in events] == [
        "transfer.accepted",
        "transfer.claimed",
        "transfer.attempt_started",
        "transfer.finished",
    ]
    assert {line["call_id"] for line in events} == {call_id}
    assert ask("tail", "--no-follow", "-n", "1").stdout == text.splitlines(keepends=True)[-1]


def test_tail_finds_the_lines_of_one_call_among_many(ask, bench):
    wanted = str(uuid.uuid4())
    bench.accept(call_id=wanted)
    for _ in range(450):  # more than two batches
        bench.accept(queue="")
    (line,) = ask("tail", "--no-follow", "--call", wanted, "--json").stdout.splitlines()
    assert json.loads(line)["call_id"] == wanted


def test_tail_follows_one_call_through_an_outage_of_redis(spawn, private_redis, tmp_path, monkeypatch):
    call_id = str(uuid.uuid4())
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    tail = spawn([*COMMAND, "tail", "--call", call_id, "--json"], cwd=tmp_path, name="tail")

    def follow_one(event):
        """Send until it is heard: before the first answer, nobody knows that it listens."""
        wait_until(lambda: event in tail.output(), message=tail.output)

    send_one = [*COMMAND, "send", "--to", "support", "--no-wait"]
    subprocess.run([*send_one, "--call-id", str(uuid.uuid4())], check=True, cwd=tmp_path)
    subprocess.run([*send_one, "--call-id", call_id], check=True, cwd=tmp_path)
    follow_one("transfer.accepted")
    private_redis.kill()
    follow_one("Redis is away")
    private_redis.restart()
    subprocess.run([*send_one, "--call-id", call_id], check=True, cwd=tmp_path)
    follow_one("transfer.repeated")
    seen = [json.loads(line) for line in tail.output().splitlines() if line.startswith("{")]
    assert {line["call_id"] for line in seen} == {call_id}
    stop_with_ctrl_c(tail)


def test_tail_refuses_what_is_no_call(ask):
    answer = ask("tail", "--call", "+1 202-555-0143")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("call-transfer: --call: ")
