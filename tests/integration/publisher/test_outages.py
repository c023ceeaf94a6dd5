"""The publisher in bad hours: a hard time budget, and the truth of the queue."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from support import TO_CLIENT, wait_until_async
from support.cluster import make_intent
from support.metronome import no_stall, within
from support.publishing import (
    BUDGET_SECONDS,
    MARGIN_SECONDS,
    make_settings,
    submit_in_time,
    waiting_for,
)
from transfer_tasks.errors import (
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
)
from transfer_tasks.publisher import AsyncTransferPublisher
from transfer_tasks.redis.connection import connect

if TYPE_CHECKING:
    from transfer_worker.local.embedded_redis import EmbeddedRedis


async def test_a_refused_connection_means_not_queued(publisher, proxy):
    proxy.refuse()
    with pytest.raises(PublishUnavailable) as told:
        await submit_in_time(publisher)
    assert "Connect" in told.value.cause


async def test_a_redis_that_accepts_and_never_answers_means_not_queued(publisher, proxy):
    proxy.hold()
    with pytest.raises(PublishUnavailable):
        await submit_in_time(publisher)


async def test_a_name_that_does_not_resolve_means_not_queued():
    async with AsyncTransferPublisher(make_settings("redis://no-such-host.invalid:6379/0")) as publisher:
        with pytest.raises(PublishUnavailable):
            await submit_in_time(publisher)


async def test_a_wrong_password_means_not_queued_and_is_not_shown(redis_url):
    url = redis_url.replace(redis_url.split("@")[0], "redis://:wrong-secret")
    async with AsyncTransferPublisher(make_settings(url)) as publisher:
        with pytest.raises(PublishUnavailable) as told:
            await submit_in_time(publisher)
    assert "wrong-secret" not in str(told.value)


async def test_a_redis_that_loads_its_data_means_not_queued(publisher, proxy):
    await publisher.submit(make_intent())
    proxy.answer_with(b"-LOADING Redis is loading the dataset in memory\r\n")
    with pytest.raises(PublishUnavailable) as told:
        await submit_in_time(publisher)
    assert "reading its data" in told.value.cause


@pytest.mark.parametrize(
    ("setting", "value"),
    [("maxmemory", "1"), ("min-replicas-to-write", "1")],
    ids=["out of memory", "too few replicas"],
)
async def test_a_redis_that_refuses_writes_means_not_queued_at_once(private_redis, setting, value):
    with connect(private_redis.url, timeout_seconds=30) as client:
        client.config_set(setting, value)
        settings = make_settings(private_redis.url, publish_budget_seconds=30)
        async with AsyncTransferPublisher(settings) as publisher:
            with within(10), pytest.raises(PublishUnavailable):
                await publisher.submit(make_intent())
        assert client.dbsize() == 0


async def test_a_replica_means_not_queued_at_once(private_redis):
    with connect(private_redis.url, timeout_seconds=30) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        settings = make_settings(private_redis.url, publish_budget_seconds=30)
        async with AsyncTransferPublisher(settings) as publisher:
            with within(10), pytest.raises(PublishUnavailable) as told:
                await publisher.submit(make_intent())
        assert "is a replica" in told.value.cause
        assert client.dbsize() == 0


@pytest.mark.parametrize("fault", ["hold", "drop_answers", "abandon_servers"])
async def test_an_answer_that_never_comes_means_nobody_knows_and_asking_again_gives_one_transfer(
    publisher, proxy, bench, fault
):
    await publisher.submit(make_intent())
    match fault:
        case "hold":
            proxy.hold()
        case "drop_answers":
            proxy.drop(TO_CLIENT)
        case "abandon_servers":
            proxy.abandon_servers()
            proxy.refuse()
    intent = make_intent()
    with pytest.raises(PublishOutcomeUnknown) as told:
        await submit_in_time(publisher, intent)
    assert told.value.transfer_id == intent.transfer_id
    proxy.heal()
    handle = await submit_in_time(publisher, intent)
    assert (handle.transfer_id, handle.hop) == (intent.transfer_id, 1)
    assert bench.queued().count(intent.transfer_id) == 1
    assert bench.events(intent.transfer_id) == ["accepted"]


async def test_a_frozen_redis_means_nobody_knows(private_redis):
    async with AsyncTransferPublisher(make_settings(private_redis.url)) as publisher:
        await publisher.submit(make_intent())
        private_redis.pause()
        try:
            with pytest.raises(PublishOutcomeUnknown):
                await submit_in_time(publisher)
        finally:
            private_redis.resume()


async def test_a_connection_that_is_lost_after_sending_is_absorbed_and_queues_once(publisher, proxy, bench):
    await publisher.submit(make_intent())
    proxy.cut_at_next_answer()
    intent = make_intent()
    handle = await submit_in_time(publisher, intent)
    assert not handle.is_repeat, "nobody has asked before"
    assert bench.queued().count(intent.transfer_id) == 1


async def test_a_lost_answer_and_then_a_refusal_is_not_told_as_a_refusal(publisher, proxy, bench):
    """The first try may have been carried out; that the second was refused says nothing about it."""
    await publisher.submit(make_intent())
    bench.client.config_set("min-replicas-to-write", "1")
    try:
        proxy.cut_at_next_answer()
        with pytest.raises(PublishOutcomeUnknown):
            await submit_in_time(publisher)
    finally:
        bench.client.config_set("min-replicas-to-write", "0")


async def test_a_connection_that_died_while_idle_is_replaced(publisher, proxy):
    await publisher.submit(make_intent())
    proxy.cut()
    assert not (await submit_in_time(publisher)).is_repeat


async def test_a_slow_line_is_no_fault(patient_publisher, proxy):
    await patient_publisher.submit(make_intent())
    proxy.delay(0.1)
    await patient_publisher.submit(make_intent())


async def test_a_restart_of_redis_within_the_budget_is_absorbed(private_redis: EmbeddedRedis):
    async with AsyncTransferPublisher(
        make_settings(private_redis.url, publish_budget_seconds=30)
    ) as publisher:
        await publisher.submit(make_intent())
        private_redis.kill()
        restart = threading.Timer(0.2, private_redis.restart)
        restart.start()
        intent = make_intent()
        async with no_stall():
            handle = await publisher.submit(intent)
        restart.join()
        assert handle.transfer_id == intent.transfer_id


async def test_many_submissions_to_a_silent_redis_end_within_one_budget(publisher, proxy):
    proxy.hold()
    with within(BUDGET_SECONDS + 2 * MARGIN_SECONDS):
        results = await asyncio.gather(
            *(publisher.submit(make_intent()) for _ in range(50)), return_exceptions=True
        )
    assert {type(result) for result in results} == {PublishUnavailable}
    proxy.heal()
    await submit_in_time(publisher)


async def test_a_submission_that_is_cancelled_leaves_the_publisher_usable(publisher, proxy, bench):
    await publisher.submit(make_intent())
    proxy.hold(TO_CLIENT)
    task = asyncio.create_task(publisher.submit(make_intent()))
    await wait_until_async(lambda: len(bench.queued()) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    proxy.heal()
    intent = make_intent()
    assert (await submit_in_time(publisher, intent)).transfer_id == intent.transfer_id


async def test_closing_does_not_wait_for_a_silent_redis(proxy, redis_url, bench):
    publisher = AsyncTransferPublisher(make_settings(proxy.url_for(redis_url)))
    handle = await publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client, patience_seconds=0.2) as (waiting,):
        proxy.hold()
        with pytest.raises(OutcomeTimeout):
            await waiting
    with within(2 * BUDGET_SECONDS + MARGIN_SECONDS):
        await publisher.close()
