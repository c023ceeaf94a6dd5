"""The publisher with a real Redis in good and bad hours: a hard time budget, and the truth of the queue."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from support import TO_CLIENT, FaultProxy, keys_without_ttl, wait_until
from support.house import make_intent
from support.ledger_bench import LedgerBench
from transfer_tasks.errors import (
    IdempotencyConflict,
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    TransferInProgress,
    TransferNotFound,
)
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher import AsyncTransferPublisher, TransferPublisher
from transfer_tasks.publisher import asynchronous as publisher_module
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from transfer_tasks.intent import TransferIntent
    from transfer_worker.local.embedded_redis import EmbeddedRedis

BUDGET_SECONDS = 0.5
MARGIN_SECONDS = 0.25


def make_settings(url: str, **fields: Any) -> PublisherSettings:
    return PublisherSettings(redis_url=url, **{"publish_budget_seconds": BUDGET_SECONDS, **fields})


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    with FaultProxy.before(redis_url) as proxy:
        yield proxy


@pytest.fixture
def bench(redis_url: str) -> Iterator[LedgerBench]:
    """The worker's side, straight on Redis."""
    with connect(redis_url, timeout_seconds=2) as client:
        yield LedgerBench(client)
        assert keys_without_ttl(client) == []


@pytest.fixture
async def publisher(proxy: FaultProxy, redis_url: str) -> AsyncIterator[AsyncTransferPublisher]:
    async with AsyncTransferPublisher(make_settings(proxy.url_for(redis_url))) as publisher:
        yield publisher


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if it takes longer, also where it ends in an error."""
    started = time.monotonic()
    try:
        yield
    finally:
        elapsed = time.monotonic() - started
        assert elapsed < seconds, f"took {elapsed:.2f} s"


@asynccontextmanager
async def no_stall(bound_seconds: float = 0.15) -> AsyncIterator[None]:
    """Fail if the event loop stood still for longer; crude, because the machine may be busy."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            worst = max(worst, time.monotonic() - before)

    ticker = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
        assert worst < bound_seconds, f"the loop stood still for {worst * 1000:.0f} ms"


async def submit_in_time(publisher: AsyncTransferPublisher, intent: TransferIntent | None = None) -> Any:
    with within(BUDGET_SECONDS + MARGIN_SECONDS):
        async with no_stall():
            return await publisher.submit(intent or make_intent())


# --- in good hours


async def test_what_is_submitted_is_on_record_and_on_the_queue(publisher, bench):
    intent = make_intent(requested_by="session-7", reason="Wants to speak to +1 202 555 0143")
    handle = await submit_in_time(publisher, intent)
    assert (handle.transfer_id, handle.hop, handle.is_repeat) == (intent.transfer_id, 1, False)
    assert handle.idempotency_key == f"{intent.call_id}:1"
    record = bench.record(handle.transfer_id)
    assert (record.state, record.intent_json) == (State.WAITING, intent.to_json())
    assert bench.queued() == [intent.transfer_id]
    (line,) = bench.audit()
    assert line["requested_by"] == "session-7"
    assert line["asked"].startswith("Wants to speak to")
    ids_and_clocks = {"timestamp", "event_id", "transfer_id", "call_id", "idempotency_key"}
    assert "0143" not in json.dumps({name: said for name, said in line.items() if name not in ids_and_clocks})


async def test_the_deadline_is_the_intents_own_by_the_clock_of_redis(publisher, bench):
    intent = make_intent(expires_in_seconds=20)
    await publisher.submit(intent)
    deadline_ms = intent.expires_at.timestamp() * 1000
    assert abs(bench.record(intent.transfer_id).expires_at_ms - deadline_ms) < 100


async def test_the_same_request_again_is_a_repeat_and_another_destination_is_refused(publisher, bench):
    first = make_intent()
    await publisher.submit(first)
    again = await publisher.submit(make_intent(call_id=first.call_id.upper()))
    assert (again.transfer_id, again.is_repeat) == (first.transfer_id, True)
    with pytest.raises(TransferInProgress) as refused:
        await publisher.submit(make_intent("sales", call_id=first.call_id))
    assert (refused.value.transfer_id, refused.value.state) == (first.transfer_id, "waiting")
    assert len(bench.queued()) == 1


async def test_asking_twice_at_once_makes_one_transfer(publisher, bench):
    call_id = str(uuid.uuid4())
    handles = await asyncio.gather(*(publisher.submit(make_intent(call_id=call_id)) for _ in range(20)))
    assert len({handle.transfer_id for handle in handles}) == 1
    assert sum(not handle.is_repeat for handle in handles) == 1
    assert len(bench.queued()) == 1


async def test_a_key_with_the_same_content_is_a_repeat_and_with_other_content_a_conflict(publisher):
    first = await publisher.submit(make_intent(idempotency_key="order-1", call_id="0" * 32))
    await first.cancel()
    again = await publisher.submit(make_intent(idempotency_key="order-1", call_id="0" * 32))
    assert (again.transfer_id, again.is_repeat) == (first.transfer_id, True)
    with pytest.raises(IdempotencyConflict) as refused:
        await publisher.submit(make_intent(idempotency_key="order-1"))
    assert (refused.value.idempotency_key, refused.value.transfer_id) == ("order-1", first.transfer_id)


async def test_a_handles_key_given_as_a_key_of_ones_own_is_the_same_transfer(publisher):
    first = await publisher.submit(make_intent(call_id="0" * 32))
    again = await publisher.submit(make_intent(call_id="0" * 32, idempotency_key=first.idempotency_key))
    assert (again.is_repeat, again.transfer_id) == (True, first.transfer_id)
    for other in ({"call_id": "1" * 32}, {"call_id": "0" * 32, "destination": "sales"}):
        with pytest.raises(IdempotencyConflict):
            await publisher.submit(make_intent(**other, idempotency_key=first.idempotency_key))


async def test_the_repeat_window_is_the_publishers_setting(redis_url, bench):
    async with AsyncTransferPublisher(make_settings(redis_url, repeat_window_seconds=0)) as publisher:
        first = await publisher.submit(make_intent(call_id="0" * 32))
        claim = bench.claim(first.transfer_id)
        assert isinstance(claim, Claim)
        bench.begin(claim)
        bench.end(claim)
        second = await publisher.submit(make_intent(call_id="0" * 32))
        assert (second.hop, second.is_repeat) == (2, False)


# --- in bad hours: what is told, and when


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
    assert "loading" in told.value.cause


@pytest.mark.parametrize(
    ("setting", "value"),
    [("maxmemory", "1"), ("min-replicas-to-write", "1")],
    ids=["out of memory", "too few replicas"],
)
async def test_a_redis_that_refuses_writes_means_not_queued_at_once(private_redis, setting, value):
    with connect(private_redis.url, timeout_seconds=2) as client:
        client.config_set(setting, value)
        async with AsyncTransferPublisher(make_settings(private_redis.url)) as publisher:
            with within(MARGIN_SECONDS), pytest.raises(PublishUnavailable):
                await publisher.submit(make_intent())
        assert client.dbsize() == 0


async def test_a_replica_means_not_queued_at_once(private_redis):
    with connect(private_redis.url, timeout_seconds=2) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        async with AsyncTransferPublisher(make_settings(private_redis.url)) as publisher:
            with within(MARGIN_SECONDS), pytest.raises(PublishUnavailable) as told:
                await publisher.submit(make_intent())
        assert "read only" in told.value.cause
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


async def test_a_slow_line_is_no_fault(publisher, proxy):
    await publisher.submit(make_intent())
    proxy.delay(0.1)
    await submit_in_time(publisher)


async def test_a_restart_of_redis_within_the_budget_is_absorbed(private_redis: EmbeddedRedis):
    async with AsyncTransferPublisher(
        make_settings(private_redis.url, publish_budget_seconds=5)
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


async def test_a_submission_that_is_cancelled_leaves_the_publisher_usable(publisher, proxy):
    await publisher.submit(make_intent())
    proxy.hold()
    task = asyncio.create_task(publisher.submit(make_intent()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    proxy.heal()
    intent = make_intent()
    assert (await submit_in_time(publisher, intent)).transfer_id == intent.transfer_id


async def test_closing_does_not_wait_for_a_silent_redis(proxy, redis_url):
    publisher = AsyncTransferPublisher(make_settings(proxy.url_for(redis_url)))
    handle = await publisher.submit(make_intent())
    waiting = asyncio.create_task(handle.outcome(timeout=0.2))
    await asyncio.sleep(0.1)
    proxy.hold()
    with pytest.raises(OutcomeTimeout):
        await waiting
    with within(2 * BUDGET_SECONDS + MARGIN_SECONDS):
        await publisher.close()


# --- outcomes


def end_as_submitted(bench: LedgerBench, transfer_id: str) -> None:
    claim = bench.claim(transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.end(claim)


async def test_an_outcome_arrives_as_it_happens(publisher, bench):
    handle = await publisher.submit(make_intent())
    waiting = asyncio.create_task(handle.outcome())
    await asyncio.sleep(0.1)
    with within(0.2):
        end_as_submitted(bench, handle.transfer_id)
        outcome = await waiting
    assert (outcome.state, outcome.reason, outcome.attempts) == (
        State.SUBMITTED,
        Reason.ACCEPTED_BY_PLATFORM,
        1,
    )
    assert outcome == bench.record(handle.transfer_id).outcome
    with within(0.2):
        assert await handle.outcome() == outcome


async def test_any_number_of_handles_waits_on_one_subscription(publisher, bench):
    handles = await asyncio.gather(*(publisher.submit(make_intent()) for _ in range(200)))
    waiting = [asyncio.create_task(handle.outcome()) for handle in handles]
    await asyncio.sleep(0.3)
    subscribers: Any = bench.client.client_list(_type="pubsub")
    assert len(subscribers) == 1
    async with no_stall(0.5):
        for handle in handles:
            bench.cancel(handle.transfer_id)
        with within(0.9):  # less than until the next look at the record
            outcomes = await asyncio.gather(*waiting)
    assert {outcome.state for outcome in outcomes} == {State.CANCELLED}
    assert [outcome.transfer_id for outcome in outcomes] == [handle.transfer_id for handle in handles]


async def test_the_subscription_outlives_a_long_silence(publisher, bench):
    handle = await publisher.submit(make_intent())
    waiting = asyncio.create_task(handle.outcome())
    await asyncio.sleep(0.2)
    first: Any = bench.client.client_list(_type="pubsub")
    await asyncio.sleep(3 * BUDGET_SECONDS)
    second: Any = bench.client.client_list(_type="pubsub")
    assert [client["id"] for client in first] == [client["id"] for client in second]
    bench.cancel(handle.transfer_id)
    await waiting


async def test_a_lost_subscription_comes_back(publisher, bench):
    handle = await publisher.submit(make_intent())
    waiting = asyncio.create_task(handle.outcome())
    await asyncio.sleep(0.1)
    bench.client.client_kill_filter(_type="pubsub")
    await asyncio.sleep(0.1)
    bench.cancel(handle.transfer_id)
    with within(publisher_module.LOOK_SECONDS + MARGIN_SECONDS):
        assert (await waiting).state is State.CANCELLED
    second = await publisher.submit(make_intent())
    waiting = asyncio.create_task(second.outcome())
    await asyncio.sleep(0.4)
    with within(0.2):
        bench.cancel(second.transfer_id)
        await waiting


async def test_a_notification_that_was_missed_is_made_up_for_by_a_look_at_the_record(publisher, bench):
    handle = await publisher.submit(make_intent())
    waiting = asyncio.create_task(handle.outcome())
    await asyncio.sleep(0.1)
    bench.client.hdel(bench.keys.record(handle.transfer_id), "reply_to")
    bench.cancel(handle.transfer_id)
    with within(publisher_module.LOOK_SECONDS + MARGIN_SECONDS):
        assert (await waiting).state is State.CANCELLED


async def test_a_repeat_in_another_process_hears_the_outcome_too(publisher, redis_url, bench):
    first = await publisher.submit(make_intent())
    async with AsyncTransferPublisher(make_settings(redis_url)) as other:
        call_id = bench.record(first.transfer_id).call_id
        second = await other.submit(make_intent(call_id=call_id))
        assert second.is_repeat
        waiting = [asyncio.create_task(handle.outcome()) for handle in (first, second)]
        await asyncio.sleep(0.2)
        with within(0.3):
            bench.cancel(first.transfer_id)
            outcomes = await asyncio.gather(*waiting)
        assert outcomes[0] == outcomes[1]


async def test_a_handle_can_be_made_from_an_id_alone(publisher, bench):
    submitted = await publisher.submit(make_intent())
    end_as_submitted(bench, submitted.transfer_id)
    assert (await publisher.handle(submitted.transfer_id).outcome()).state is State.SUBMITTED


@pytest.mark.parametrize("patience_seconds", [0, 0.2])
async def test_patience_that_ends_is_a_timeout_and_changes_nothing(publisher, bench, patience_seconds):
    handle = await publisher.submit(make_intent())
    with within(patience_seconds + MARGIN_SECONDS), pytest.raises(OutcomeTimeout) as told:
        await handle.outcome(timeout=patience_seconds)
    assert (told.value.transfer_id, told.value.state) == (handle.transfer_id, "waiting")
    assert told.value.waited_seconds >= patience_seconds
    assert bench.record(handle.transfer_id).state is State.WAITING


async def test_patience_ends_on_time_although_redis_is_silent(publisher, proxy):
    handle = await publisher.submit(make_intent())
    proxy.hold()
    with within(0.2 + MARGIN_SECONDS), pytest.raises(OutcomeTimeout) as told:
        await handle.outcome(timeout=0.2)
    assert "Redis" in told.value.state


async def test_the_default_patience_ends_although_redis_is_silent(publisher, proxy, monkeypatch):
    monkeypatch.setattr(publisher_module, "UNREAD_PATIENCE_SECONDS", 0.3)
    handle = await publisher.submit(make_intent())
    proxy.hold()
    with within(0.3 + MARGIN_SECONDS), pytest.raises(OutcomeTimeout):
        await handle.outcome()


async def test_the_default_patience_reaches_beyond_the_deadline(publisher, bench, monkeypatch):
    monkeypatch.setattr(publisher_module, "ENDING_MARGIN_SECONDS", 0.3)
    handle = await publisher.submit(make_intent(expires_in_seconds=1))
    claim = bench.claim(handle.transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    started = time.monotonic()
    with pytest.raises(OutcomeTimeout) as told:
        await handle.outcome()
    assert told.value.state == "sending"
    assert 1.1 < time.monotonic() - started < 1.3 + MARGIN_SECONDS


async def test_an_outcome_that_comes_while_redis_is_away_is_found_when_it_is_back(publisher, proxy, bench):
    handle = await publisher.submit(make_intent())
    waiting = asyncio.create_task(handle.outcome())
    await asyncio.sleep(0.1)
    proxy.cut()
    proxy.refuse()
    end_as_submitted(bench, handle.transfer_id)
    await asyncio.sleep(0.1)
    proxy.heal()
    with within(publisher_module.LOOK_SECONDS + BUDGET_SECONDS + MARGIN_SECONDS):
        assert (await waiting).state is State.SUBMITTED


async def test_without_a_worker_the_handle_itself_tells_of_the_expiry(publisher, bench):
    intent = make_intent(expires_in_seconds=1)
    outcome = await (await publisher.submit(intent)).outcome()
    late_seconds = (datetime.now(UTC) - intent.expires_at).total_seconds()
    assert (outcome.state, outcome.reason) == (State.EXPIRED, Reason.DEADLINE_PASSED)
    assert 0 <= late_seconds < 0.1
    assert bench.events(intent.transfer_id) == ["accepted", "finished"]


async def test_what_is_not_on_record_is_not_found(publisher):
    nobody = publisher.handle(str(uuid.uuid4()))
    with pytest.raises(TransferNotFound):
        await nobody.outcome()
    with pytest.raises(TransferNotFound):
        await nobody.cancel()


async def test_cancelling_works_until_it_is_sent_and_tells_which(publisher, bench):
    first, second = [await publisher.submit(make_intent()) for _ in range(2)]
    assert await first.cancel(detail="hung up")
    assert await first.cancel()
    outcome = await first.outcome()
    assert (outcome.state, outcome.source, outcome.detail) == (State.CANCELLED, "session", "hung up")
    claim = bench.claim(second.transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    assert not await second.cancel()
    bench.end(claim)
    assert not await second.cancel()
    assert (await second.outcome()).state is State.SUBMITTED


async def test_cancelling_without_redis_is_a_typed_error_in_time(publisher, proxy):
    handle = await publisher.submit(make_intent())
    proxy.hold()
    with within(BUDGET_SECONDS + MARGIN_SECONDS), pytest.raises(LedgerUnavailable):
        await handle.cancel()


async def test_a_waiter_that_is_cancelled_leaves_the_others_alone(publisher, bench):
    handle = await publisher.submit(make_intent())
    gone, stays = [asyncio.create_task(handle.outcome()) for _ in range(2)]
    await asyncio.sleep(0.1)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    bench.cancel(handle.transfer_id)
    with within(0.2):
        assert (await stays).state is State.CANCELLED


# --- the synchronous coat


@pytest.fixture
def sync_publisher(proxy: FaultProxy, redis_url: str) -> Iterator[TransferPublisher]:
    with TransferPublisher(make_settings(proxy.url_for(redis_url))) as publisher:
        yield publisher


def test_threads_share_one_publisher_and_one_subscription(sync_publisher, bench):
    with ThreadPoolExecutor(20) as pool:
        handles = list(pool.map(lambda _: sync_publisher.submit(make_intent()), range(60)))
        waiting = [pool.submit(handle.outcome) for handle in handles[:20]]
        wait_until(lambda: len(bench.client.client_list(_type="pubsub")) == 1)
        for handle in handles:
            bench.cancel(handle.transfer_id)
        assert {future.result(5).state for future in waiting} == {State.CANCELLED}
    assert len({handle.transfer_id for handle in handles}) == 60


def test_the_synchronous_coat_says_the_same_things_within_the_same_budget(sync_publisher, proxy, bench):
    first = sync_publisher.submit(make_intent())
    assert (first.hop, first.is_repeat, first.idempotency_key[-2:]) == (1, False, ":1")
    call_id = bench.record(first.transfer_id).call_id
    with pytest.raises(TransferInProgress):
        sync_publisher.submit(make_intent("sales", call_id=call_id))
    with pytest.raises(OutcomeTimeout):
        first.outcome(timeout=0.1)
    assert first.cancel()
    assert sync_publisher.handle(first.transfer_id).outcome().state is State.CANCELLED
    proxy.hold()
    with within(BUDGET_SECONDS + MARGIN_SECONDS), pytest.raises(PublishOutcomeUnknown):
        sync_publisher.submit(make_intent())


async def test_the_synchronous_coat_works_in_a_thread_that_runs_a_loop(sync_publisher):
    assert sync_publisher.submit(make_intent()).cancel()


def test_it_can_be_closed_twice_and_used_again(sync_publisher):
    sync_publisher.submit(make_intent())
    sync_publisher.close()
    sync_publisher.close()
    assert sync_publisher.submit(make_intent()).cancel()


def test_after_a_fork_both_processes_go_on_with_connections_of_their_own(sync_publisher, bench):
    before = sync_publisher.submit(make_intent())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        said: dict[str, Any] = {}
        try:
            new = sync_publisher.submit(make_intent())
            said = {
                "new": new.transfer_id,
                "cancelled": new.cancel(),
                "old": before.outcome().state,
            }
        except BaseException as error:  # noqa: BLE001 - the parent shall see it
            said = {"error": repr(error)}
        finally:
            os.write(writer, json.dumps(said).encode())
            os._exit(0)
    os.close(writer)
    time.sleep(0.1)
    assert before.cancel()
    with os.fdopen(reader) as pipe:
        said = json.load(pipe)
    os.waitpid(child, 0)
    assert (said.get("old"), said.get("cancelled")) == ("cancelled", True), said
    assert bench.record(said["new"]).state is State.CANCELLED
    assert sync_publisher.submit(make_intent()).cancel()


WAITS_FOR_AN_OUTCOME = """
import sys, uuid
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import TransferPublisher
with TransferPublisher() as publisher:
    handle = publisher.submit(TransferIntent(call_id=str(uuid.uuid4()), destination="support"))
    print("waiting", handle.transfer_id, flush=True)
    handle.outcome()
"""


def test_an_interrupt_ends_a_wait_at_once(spawn, redis_url, bench):
    process = spawn([sys.executable, "-c", WAITS_FOR_AN_OUTCOME], env={"TRANSFER_REDIS_URL": redis_url})
    transfer_id = process.wait_for_output(r"waiting (\S+)")[1]
    process.send_signal(signal.SIGINT)
    with within(2):
        assert process.wait() == -signal.SIGINT
    assert "KeyboardInterrupt" in process.output()
    assert bench.record(transfer_id).state is State.WAITING


# --- what leaves no trace


async def test_nothing_of_a_publisher_is_left_behind(redis_url, bench):
    before = len(bench.client.client_list())
    async with AsyncTransferPublisher(make_settings(redis_url)) as publisher:
        handle = await publisher.submit(make_intent())
        with pytest.raises(OutcomeTimeout):
            await handle.outcome(timeout=0.1)
    wait_until(lambda: len(bench.client.client_list()) == before)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
