"""What a worker's heartbeat carries along, and what it doesn't depend on."""

from __future__ import annotations

import pytest
import structlog

from transfer_tasks.redis.clock import RedisClock
from transfer_worker.ledger.recovery import Recovery


@pytest.fixture
def heard():
    return []


@pytest.fixture
def recovery(bench, heard):
    return Recovery(
        bench.ledger,
        worker="w1",
        describe=lambda: "{}",
        queue=bench.queue,
        notification="",
        limits={},
        attempt_bound_seconds=1,
        log=structlog.get_logger(),
        clock=RedisClock(),
        on_polls=lambda: heard.append("polls"),
    )


def test_a_heartbeat_counts_though_the_sweep_behind_it_fails(bench, recovery):
    bench.client.set(bench.keys.open_ids, "no sorted set", ex=60)
    recovery.heartbeat_and_sweep()
    assert bench.client.exists(bench.keys.worker("w1"))
    bench.client.delete(bench.keys.worker("w1"))
    recovery.keep_lease()  # the last one is not old
    assert not bench.client.exists(bench.keys.worker("w1"))


def test_a_heartbeat_tells_whether_there_is_something_to_ask_the_platform(bench, recovery, heard):
    recovery.heartbeat_and_sweep()
    assert not heard
    bench.client.zadd(bench.keys.polls, {"request": 1})
    bench.client.expire(bench.keys.polls, 60)
    recovery.heartbeat_and_sweep()
    assert heard == ["polls"]
