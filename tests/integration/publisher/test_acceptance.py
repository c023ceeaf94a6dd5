"""What a publisher accepts, repeats and refuses, and what it leaves on record."""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from support.cluster import make_intent
from support.publishing import (
    make_settings,
    submit_in_time,
)
from transfer_tasks.errors import (
    IdempotencyConflict,
    TransferInProgress,
)
from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import State
from transfer_tasks.publisher import AsyncTransferPublisher


@pytest.fixture
def publisher(patient_publisher: AsyncTransferPublisher) -> AsyncTransferPublisher:
    """What is accepted is no question of time."""
    return patient_publisher


async def test_what_is_submitted_is_on_record_and_on_the_queue(publisher, bench):
    intent = make_intent(requested_by="session-7", reason="Wants to speak to +1 202 555 0143")
    handle = await submit_in_time(publisher, intent)
    assert (handle.transfer_id, handle.hop, handle.is_repeat) == (intent.transfer_id, 1, False)
    assert handle.idempotency_key == f"{intent.call_id}:1"
    record = bench.record(handle.transfer_id)
    assert record.state is State.WAITING
    kept = TransferIntent.from_elsewhere(record.intent_json)
    assert kept.model_copy(update={"expires_at": intent.expires_at}) == intent
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
