"""Redis away, slow, silent, full: no ledger, no POST; back at work within seconds; nothing sent twice."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import redis

from support import TO_CLIENT, TO_SERVER, FaultProxy, wait_until
from support.cluster import Cluster, make_intent
from transfer_tasks.errors import TransferNotFound
from transfer_tasks.outcome import State
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support import ProcessSpawner

SLOW_NUMBER = "+1 202 555 0101"
"""The sandbox answers after two seconds."""


@pytest.fixture
def cluster(private_redis: EmbeddedRedis, spawn: ProcessSpawner) -> Iterator[Cluster]:
    with SandboxServer() as sandbox:
        yield Cluster(redis_url=private_redis.url, sandbox=sandbox, spawn=spawn)


def submit_and_see_it_carried_out(cluster: Cluster) -> None:
    """Have a new transfer carried out by whoever is back at work. How soon: benchmarks/single/recovery.py."""
    with cluster.publisher() as publisher:
        assert publisher.submit(make_intent(expires_in_seconds=30)).outcome().state is State.SUBMITTED


@pytest.mark.parametrize("seconds", [0.3, 3.0, pytest.param(20.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_after_a_restart_of_redis_the_worker_is_back(
    cluster: Cluster, private_redis: EmbeddedRedis, seconds: float, busy: bool
) -> None:
    worker = cluster.start_supervised()
    with cluster.publisher() as publisher:
        intent = make_intent(SLOW_NUMBER, expires_in_seconds=60)
        if busy:
            publisher.submit(intent)
            wait_until(lambda: cluster.sandbox.post_count(intent.call_id) == 1, message="the POST is out")
        private_redis.kill()
        time.sleep(seconds)  # the length of the outage is what is tested
        private_redis.restart()

        submit_and_see_it_carried_out(cluster)

        if busy:
            outcome = publisher.handle(intent.transfer_id).outcome()
            assert outcome.state in {State.SUBMITTED, State.UNKNOWN}
            assert cluster.sandbox.post_count(intent.call_id) == 1
    assert worker.is_running()


def test_without_a_ledger_nothing_is_sent(cluster: Cluster, private_redis: EmbeddedRedis) -> None:
    cluster.start_supervised()
    with cluster.publisher() as publisher:
        handle = publisher.submit(make_intent(SLOW_NUMBER, expires_in_seconds=60))
        assert handle.outcome().state is State.SUBMITTED
        posts = len(cluster.sandbox.requests())
        private_redis.pause()
        time.sleep(3)  # longer than every timeout of the worker's Redis clients
        assert len(cluster.sandbox.requests()) == posts
        private_redis.resume()
        submit_and_see_it_carried_out(cluster)


@pytest.mark.parametrize("fault", ["silent both ways", "answers lost", "cut", "half-open", "slow", "refused"])
def test_a_broken_line_between_worker_and_redis_heals(
    cluster: Cluster, private_redis: EmbeddedRedis, fault: str
) -> None:
    with FaultProxy.before(private_redis.url) as proxy:
        worker = cluster.start_supervised(redis_url=proxy.url_for(private_redis.url))
        match fault:
            case "silent both ways":
                proxy.hold(TO_SERVER)
                proxy.hold(TO_CLIENT)
            case "answers lost":
                proxy.drop(TO_CLIENT)
            case "cut":
                proxy.cut()
            case "half-open":
                proxy.abandon_servers()
            case "slow":
                proxy.delay(0.3, TO_CLIENT)
            case "refused":
                proxy.refuse()
                proxy.cut()
        with cluster.publisher() as publisher:
            intent = make_intent(expires_in_seconds=60)
            handle = publisher.submit(intent)
            time.sleep(4)  # the fault lasts longer than the lease
            proxy.heal()

            outcome = handle.outcome()

        assert outcome.state in {State.SUBMITTED, State.UNKNOWN}
        assert cluster.sandbox.post_count(intent.call_id) <= 1
        if outcome.state is State.SUBMITTED:
            assert cluster.sandbox.post_count(intent.call_id) == 1
        submit_and_see_it_carried_out(cluster)
        assert worker.is_running()


@pytest.mark.parametrize("setting", ["out of memory", "read-only"])
def test_a_redis_that_refuses_writes_stops_everything_and_then_it_goes_on(
    cluster: Cluster, private_redis: EmbeddedRedis, setting: str
) -> None:
    worker = cluster.start_supervised()
    client = cluster.ledger().client
    with cluster.publisher() as publisher:
        held = make_intent(SLOW_NUMBER, expires_in_seconds=60)
        handle = publisher.submit(held)
        wait_until(lambda: cluster.sandbox.post_count(held.call_id) == 1, message="the POST is out")
        if setting == "out of memory":
            client.config_set("maxmemory", "1")
        else:
            client.replicaof("127.0.0.1", "1")
        time.sleep(3)  # longer than the request takes, and than the lease
        assert len(cluster.sandbox.requests()) == 1
        if setting == "out of memory":
            client.config_set("maxmemory", "0")
        else:
            client.replicaof("NO", "ONE")

        assert handle.outcome().state in {State.SUBMITTED, State.UNKNOWN}
        assert cluster.sandbox.post_count(held.call_id) == 1
        submit_and_see_it_carried_out(cluster)
    assert worker.is_running()


def test_after_the_promotion_of_a_replica_the_worker_goes_on_there(
    cluster: Cluster, private_redis: EmbeddedRedis
) -> None:
    with EmbeddedRedis() as other, FaultProxy.before(private_redis.url) as proxy:
        password = urlsplit(private_redis.url).password or ""
        replica = redis.Redis.from_url(other.url)
        replica.config_set("masterauth", password)
        replica.replicaof("127.0.0.1", private_redis.port)
        wait_until(
            lambda: replica.info("replication")["master_link_status"] == "up",
            message="the replica follows",
        )
        replica.config_set("requirepass", password)
        cluster.start_supervised(redis_url=proxy.url_for(private_redis.url))
        with cluster.publisher(redis_url=proxy.url_for(private_redis.url)) as publisher:
            held = make_intent(SLOW_NUMBER, expires_in_seconds=60)
            handle = publisher.submit(held)
            wait_until(lambda: cluster.sandbox.post_count(held.call_id) == 1, message="the POST is out")
            private_redis.kill()
            redis.Redis(port=other.port, password=password).replicaof("NO", "ONE")
            proxy.retarget(("127.0.0.1", other.port))
            proxy.cut()

            assert publisher.submit(make_intent()).outcome().state is State.SUBMITTED
            assert handle.outcome().state in {State.SUBMITTED, State.UNKNOWN}
            assert cluster.sandbox.post_count(held.call_id) == 1


def test_a_redis_that_forgot_everything_is_told_truthfully(
    cluster: Cluster, private_redis: EmbeddedRedis
) -> None:
    worker = cluster.start_supervised()
    with cluster.publisher() as publisher:
        held = make_intent(SLOW_NUMBER, expires_in_seconds=60)
        handle = publisher.submit(held)
        wait_until(lambda: cluster.sandbox.post_count(held.call_id) == 1, message="the POST is out")
        private_redis.kill()
        for kept in private_redis.data_dir.glob("appendonly*"):  # since Redis 7 a folder
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
        private_redis.restart()

        with pytest.raises(TransferNotFound):
            handle.outcome()
        submit_and_see_it_carried_out(cluster)
        assert cluster.sandbox.post_count(held.call_id) == 1
    assert worker.is_running()
