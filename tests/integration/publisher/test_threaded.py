"""The publisher for threads: the same promises, one subscription, and a life beyond a fork."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support import FaultProxy, wait_until
from support.cluster import make_intent
from support.metronome import within
from support.publishing import (
    BUDGET_SECONDS,
    MARGIN_SECONDS,
    count_steps,
    make_settings,
    subscriber_ids,
)
from transfer_tasks.errors import (
    OutcomeTimeout,
    PublishOutcomeUnknown,
    TransferInProgress,
)
from transfer_tasks.outcome import State
from transfer_tasks.publisher import TransferPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        assert {future.result(60).state for future in waiting} == {State.CANCELLED}
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
    wait_until(lambda: subscriber_ids(bench.client), message="the child waits")
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
    steps = count_steps(bench.client)
    process = spawn([sys.executable, "-c", WAITS_FOR_AN_OUTCOME], env={"TRANSFER_REDIS_URL": redis_url})
    transfer_id = process.wait_for_output(r"waiting (\S+)")[1]
    wait_until(lambda: count_steps(bench.client) >= steps + 2, message="it waits")
    process.send_signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    assert "KeyboardInterrupt" in process.output()
    assert bench.record(transfer_id).state is State.WAITING
