"""The way on from the first command: what it names tells more, and the runbook's commands put it right."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
import redis

from support import wait_until
from support.cluster import make_intent
from transfer_tasks.errors import PublishUnavailable
from transfer_tasks.outcome import Reason, State


def top_concern(output):
    """Return the first line that asks to be looked at, and the command that it names."""
    line = next(line for line in output.splitlines() if line.startswith("! "))
    text, _, command = line.partition(" See: call-transfer ")
    return text, command.split()


def test_the_platform_is_down(cluster, on_call, call_for):
    cluster.start_worker(PIOPIY_API_URL="http://127.0.0.1:1/v3")
    *_, last = call_for("support", "support")

    concern, command = top_concern(on_call("status"))

    assert concern.startswith("! The platform: 100% of the requests")
    assert "got no connection" in concern
    assert on_call(*command).count("failed (platform_unreachable)") == 2
    told = on_call("why", last)
    assert "Check the network and PIOPIY_API_URL. The call was not moved." in told
    assert "Connection refused" in told
    assert f"call-transfer replay {last}" in told


def test_the_token_is_wrong(cluster, on_call, call_for, monkeypatch):
    cluster.start_worker(PIOPIY_TOKEN="yesterdays-token")
    monkeypatch.setenv("PIOPIY_TOKEN", "yesterdays-token")
    *_, last = call_for("support", "support")

    concern, command = top_concern(on_call("status"))

    assert concern.startswith("! Piopiy refuses the workers' token: 2 times in the last minute, since ")
    assert on_call(*command).count("rejected (unauthorized)") == 2
    assert "Check PIOPIY_TOKEN on the worker, now." in on_call("why", last)
    found = on_call("doctor")
    assert any(line.startswith("problem") and "PIOPIY_TOKEN" in line for line in found.splitlines())
    assert "yesterdays-token" not in found


def test_the_worker_is_dead(cluster, on_call, call_for):
    worker = cluster.start_worker()
    call_for("support")
    os.killpg(worker.pid, signal.SIGKILL)
    ledger = cluster.ledger()
    with ledger.client as client:
        wait_until(lambda: not client.exists(*client.keys("transfer:worker:*"), "none"))
    (last,) = call_for("support")

    concern, command = top_concern(on_call("status"))

    assert concern.startswith("! No worker gives a sign of life (the last one ")
    assert "GONE" in on_call("status")
    found = next(line for line in on_call(*command).splitlines() if " workers " in line)
    assert "none gives a sign of life. Start one: call-transfer worker." in found
    assert "expired (deadline_passed)" in on_call("why", last)

    cluster.start_worker()
    call_for("support")
    assert "No worker gives a sign of life" not in on_call("status")


def test_redis_is_full(cluster, on_call, private_redis, monkeypatch, spawn):
    cluster.redis_url = private_redis.url
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    cluster.start_worker()
    with redis.Redis.from_url(private_redis.url) as client, cluster.publisher() as publisher:
        publisher.submit(make_intent("support")).outcome(5)
        client.config_set("maxmemory", client.info()["used_memory"] // 2)

        with pytest.raises(PublishUnavailable):
            publisher.submit(make_intent("support"))
        concern, command = top_concern(on_call("status"))

        assert concern == ("! No request is accepted or sent: Redis's memory is full, and it takes nothing.")
        full = next(line for line in on_call(*command).splitlines() if re.match(r"problem +memory ", line))
        assert "it is full, and takes no request" in full
        assert "Raise maxmemory" in full

        client.config_set("maxmemory", 0)
        outcome = publisher.submit(make_intent("support")).outcome(5)
        assert outcome.state is State.SUBMITTED
        wait_until(lambda: "memory is full" not in on_call("status"))


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), "this Redis is a replica, and takes no writes"),
        (("CONFIG", "SET", "maxmemory", "1"), "Redis's memory is full, and it takes nothing"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            "too few replicas follow: NOREPLICAS Not enough good replicas to write",
        ),
    ],
    ids=["read-only", "full", "without its replicas"],
)
def test_redis_takes_no_writes_and_the_workers_are_alive(
    cluster, on_call, private_redis, monkeypatch, how, cause
):
    cluster.redis_url = private_redis.url
    monkeypatch.setenv("TRANSFER_REDIS_URL", private_redis.url)
    cluster.start_worker()
    with redis.Redis.from_url(private_redis.url, decode_responses=True) as client:
        client.execute_command(*how)
        wait_until(lambda: not client.exists(*client.keys("transfer:worker:*"), "none"))

        read = on_call("status")
        concern, command = top_concern(read)

        assert concern == f"! No request is accepted or sent: {cause}."
        assert "No worker gives a sign of life" not in read
        assert "GONE" not in read
        found = on_call(*command).splitlines()
        assert found[0].startswith("problem")
        assert cause in found[0]
        (workers,) = [line for line in found if " workers " in line]
        assert "Start one" not in workers
        assert "can't be told while Redis takes no writes" in workers
        for words in (
            ("pause", "billing", "--reason", "test"),
            ("send", "--call-id", "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", "--to", "support"),
        ):
            said = on_call(*words)
            assert cause in said
            assert "script" not in said
        assert client.keys("transfer:probe*") == []


def test_one_destination_is_broken(cluster, on_call, call_for, publisher):
    cluster.start_worker()
    call_for("support", "billing", "support", "billing", "billing")

    concern, command = top_concern(on_call("status"))

    assert concern.startswith(
        "! billing: 3 of 3 in the last minute were not submitted: 3 for refused_by_platform, since "
    )
    listed = on_call(*command)
    assert listed.count("rejected (refused_by_platform)  billing") == 3
    transfer_id = listed.split()[-1]
    assert "Read the answer in the record." in on_call("why", transfer_id)
    assert 'answer {"error":' in on_call("show", transfer_id)

    # The kill switch for this one; sessions hear at once, and all others go on.
    on_call("pause", "billing", "--reason", "its number is refused")
    posts = cluster.sandbox.post_count()
    outcome = publisher.submit(make_intent("billing")).outcome(1)
    assert (outcome.reason, cluster.sandbox.post_count()) == (Reason.DESTINATION_PAUSED, posts)
    assert publisher.submit(make_intent("support")).outcome(5).state is State.SUBMITTED
    assert top_concern(on_call("status"))[1] == ["resume", "billing"]
    assert json.loads(on_call("status", "--json"))["paused"][0]["by"] == "ana"
