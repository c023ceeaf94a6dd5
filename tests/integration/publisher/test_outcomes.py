"""Outcomes as they happen, and what is told while Redis does not."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from support import wait_until, wait_until_async
from support.cluster import make_intent
from support.metronome import no_stall, within
from support.publishing import (
    BUDGET_SECONDS,
    MARGIN_SECONDS,
    count_steps,
    make_settings,
    subscriber_ids,
    waiting_for,
)
from transfer_tasks.errors import (
    LedgerUnavailable,
    OutcomeTimeout,
    TransferNotFound,
)
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher import AsyncTransferPublisher, asynchronous, looking

if TYPE_CHECKING:
    from support.ledger_bench import LedgerBench


@pytest.fixture
def no_more_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let waiting handles look at the record no more after their first look: they have to be told."""
    monkeypatch.setattr(looking, "LOOK_SECONDS", 1000)


def end_as_submitted(bench: LedgerBench, transfer_id: str) -> None:
    claim = bench.claim(transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.end(claim)


async def test_an_outcome_arrives_as_it_happens(patient_publisher, bench, no_more_looks):
    handle = await patient_publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client) as (waiting,):
        end_as_submitted(bench, handle.transfer_id)
        outcome = await waiting
    assert (outcome.state, outcome.reason, outcome.attempts) == (
        State.SUBMITTED,
        Reason.ACCEPTED_BY_PLATFORM,
        1,
    )
    assert outcome == bench.record(handle.transfer_id).outcome
    steps = count_steps(bench.client)
    assert await handle.outcome() == outcome
    assert count_steps(bench.client) == steps + 1, "known at the first look"


async def test_any_number_of_handles_waits_on_one_subscription(patient_publisher, bench, no_more_looks):
    handles = await asyncio.gather(*(patient_publisher.submit(make_intent()) for _ in range(200)))
    async with waiting_for(*handles, client=bench.client) as waiting:
        assert len(subscriber_ids(bench.client)) == 1
        for handle in handles:
            bench.cancel(handle.transfer_id)
        async with no_stall():
            outcomes = await asyncio.gather(*waiting)
    assert {outcome.state for outcome in outcomes} == {State.CANCELLED}
    assert [outcome.transfer_id for outcome in outcomes] == [handle.transfer_id for handle in handles]


async def test_the_subscription_outlives_a_long_silence(publisher, bench):
    handle = await publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client) as (waiting,):
        first = subscriber_ids(bench.client)
        await asyncio.sleep(3 * BUDGET_SECONDS)  # the silence; the budget is its connection's read timeout
        assert subscriber_ids(bench.client) == first
        bench.cancel(handle.transfer_id)
        await waiting


async def test_a_lost_subscription_comes_back(patient_publisher, bench, no_more_looks):
    handle = await patient_publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client) as (waiting,):
        lost = subscriber_ids(bench.client)
        bench.client.client_kill_filter(_type="pubsub")
        await wait_until_async(lambda: subscriber_ids(bench.client) not in ([], lost))
        bench.cancel(handle.transfer_id)
        assert (await waiting).state is State.CANCELLED


async def test_a_notification_that_was_missed_is_made_up_for_by_a_look_at_the_record(
    patient_publisher, bench
):
    handle = await patient_publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client) as (waiting,):
        bench.client.hdel(bench.keys.record(handle.transfer_id), "reply_to")
        bench.cancel(handle.transfer_id)
        assert (await waiting).state is State.CANCELLED


async def test_a_subscription_that_is_lost_while_an_outcome_comes_is_made_up_for_likewise(
    patient_publisher, bench
):
    handle = await patient_publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client) as (waiting,):
        bench.client.client_kill_filter(_type="pubsub")
        bench.cancel(handle.transfer_id)
        assert (await waiting).state is State.CANCELLED


async def test_a_repeat_in_another_process_hears_the_outcome_too(
    patient_publisher, redis_url, bench, no_more_looks
):
    first = await patient_publisher.submit(make_intent())
    async with AsyncTransferPublisher(make_settings(redis_url, publish_budget_seconds=30)) as other:
        call_id = bench.record(first.transfer_id).call_id
        second = await other.submit(make_intent(call_id=call_id))
        assert second.is_repeat
        async with waiting_for(first, second, client=bench.client) as waiting:
            bench.cancel(first.transfer_id)
            outcomes = await asyncio.gather(*waiting)
        assert outcomes[0] == outcomes[1]


async def test_a_handle_can_be_made_from_an_id_alone(patient_publisher, bench):
    submitted = await patient_publisher.submit(make_intent())
    end_as_submitted(bench, submitted.transfer_id)
    assert (await patient_publisher.handle(submitted.transfer_id).outcome()).state is State.SUBMITTED


@pytest.mark.parametrize("patience_seconds", [0, 0.2])
async def test_patience_that_ends_is_a_timeout_and_changes_nothing(
    patient_publisher, bench, patience_seconds, monkeypatch
):
    monkeypatch.setattr(looking, "LEAST_LOOK_SECONDS", 10)
    handle = await patient_publisher.submit(make_intent())
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
    monkeypatch.setattr(asynchronous, "UNREAD_PATIENCE_SECONDS", 0.3)
    handle = await publisher.submit(make_intent())
    proxy.hold()
    with within(0.3 + MARGIN_SECONDS), pytest.raises(OutcomeTimeout):
        await handle.outcome()


async def test_the_default_patience_reaches_beyond_the_deadline(publisher, bench, monkeypatch):
    monkeypatch.setattr(asynchronous, "ENDING_MARGIN_SECONDS", 0.3)
    intent = make_intent(expires_in_seconds=1)
    handle = await publisher.submit(intent)
    claim = bench.claim(handle.transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    with within(1 + 0.3 + 2 * MARGIN_SECONDS), pytest.raises(OutcomeTimeout) as told:
        await handle.outcome()
    assert told.value.state == "sending"
    late_seconds = (datetime.now(UTC) - intent.expires_at).total_seconds()
    assert late_seconds > 0.25, "the margin, by another clock"


async def test_an_outcome_that_comes_while_redis_is_away_is_found_when_it_is_back(publisher, proxy, bench):
    handle = await publisher.submit(make_intent())
    async with waiting_for(handle, client=bench.client) as (waiting,):
        proxy.cut()
        proxy.refuse()
        end_as_submitted(bench, handle.transfer_id)
        proxy.heal()
        assert (await waiting).state is State.SUBMITTED


async def test_without_a_worker_the_handle_itself_tells_of_the_expiry(
    patient_publisher, bench, no_more_looks
):
    intent = make_intent(expires_in_seconds=1)
    outcome = await (await patient_publisher.submit(intent)).outcome()
    assert (outcome.state, outcome.reason) == (State.EXPIRED, Reason.DEADLINE_PASSED)
    assert datetime.now(UTC) >= intent.expires_at
    assert bench.events(intent.transfer_id) == ["accepted", "finished"]


async def test_what_is_not_on_record_is_not_found(patient_publisher):
    nobody = patient_publisher.handle(str(uuid.uuid4()))
    with pytest.raises(TransferNotFound):
        await nobody.outcome()
    with pytest.raises(TransferNotFound):
        await nobody.cancel()


async def test_cancelling_works_until_it_is_sent_and_tells_which(patient_publisher, bench):
    first, second = [await patient_publisher.submit(make_intent()) for _ in range(2)]
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


async def test_a_waiter_that_is_cancelled_leaves_the_others_alone(patient_publisher, bench, no_more_looks):
    handle = await patient_publisher.submit(make_intent())
    async with waiting_for(handle, handle, client=bench.client) as (gone, stays):
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        bench.cancel(handle.transfer_id)
        assert (await stays).state is State.CANCELLED


async def test_nothing_of_a_publisher_is_left_behind(redis_url, bench):
    before = len(bench.client.client_list())
    async with AsyncTransferPublisher(make_settings(redis_url)) as publisher:
        handle = await publisher.submit(make_intent())
        with pytest.raises(OutcomeTimeout):
            await handle.outcome(timeout=0.1)
    wait_until(lambda: len(bench.client.client_list()) <= before)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
