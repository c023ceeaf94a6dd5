"""What a worker's heartbeat carries along, and what it doesn't depend on."""

from __future__ import annotations

import pytest
import structlog

from support.cluster import make_intent
from support.ledger_bench import LONG_MS
from transfer_tasks.publisher.acceptance import build_accept
from transfer_tasks.redis.clock import RedisClock
from transfer_worker.ledger.recovery import Recovery

RETENTION_SECONDS = 1000
"""That of the bench."""


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


def accept_as_a_publisher(bench):
    """Return the time to live of what is open and of the outbox, in seconds, behind a usual acceptance."""
    asked = build_accept(bench.commands, make_intent("support"), queue=bench.queue, remaining_ms=LONG_MS)
    bench.run(asked)
    return [bench.client.ttl(key) for key in (bench.keys.open_ids, bench.keys.audit)]


def test_what_all_transfers_share_is_renewed_by_heartbeats_while_a_worker_lives(bench):
    retention, outbox = accept_as_a_publisher(bench)
    for key in (bench.keys.open_ids, bench.keys.audit):
        bench.client.expire(key, 50)
    bench.heartbeat(lease_ms=5000)
    assert [bench.client.ttl(key) for key in (bench.keys.open_ids, bench.keys.audit)] == [retention, outbox]

    for key in (bench.keys.open_ids, bench.keys.audit):
        bench.client.expire(key, 50)
    bench.heartbeat(lease_ms=5000)  # again within half a lease
    assert accept_as_a_publisher(bench) == [50, 50], "nobody needs to: the next heartbeat will"

    bench.client.delete(bench.keys.kept)  # no worker lives any more
    assert accept_as_a_publisher(bench) == [retention, outbox]


def test_what_is_open_gets_a_time_to_live_when_it_is_the_first(bench):
    bench.cancel(bench.accept().transfer_id)
    bench.heartbeat(lease_ms=5000)
    assert bench.client.exists(bench.keys.kept)
    retention, _ = accept_as_a_publisher(bench)
    assert retention == RETENTION_SECONDS


def test_an_outbox_that_is_not_there_yet_is_left_to_the_acceptance(bench):
    bench.heartbeat(lease_ms=5000)
    assert not bench.client.exists(bench.keys.kept)


def test_a_lease_that_is_long_beside_the_retention_keeps_nothing(bench):
    bench.heartbeat(lease_ms=RETENTION_SECONDS * 10 + 1)
    assert not bench.client.exists(bench.keys.kept)
