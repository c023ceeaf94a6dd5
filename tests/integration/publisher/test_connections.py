"""Waiting for the second fact: whether anybody picked up."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from support import wait_until_async
from support.cluster import make_intent
from support.publishing import count_steps, make_settings
from transfer_tasks.connection import ConnectionReason, ConnectionStatus
from transfer_tasks.errors import ConnectionTimeout, OutcomeTimeout, TransferNotFound
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher import TransferPublisher, looking

if TYPE_CHECKING:
    from support.ledger_bench import LedgerBench


@pytest.fixture
def no_more_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LOOK_SECONDS", 1000)


def send(bench: LedgerBench, transfer_id: str, *ending) -> None:
    claim = bench.claim(transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.end(claim, *ending)


async def test_whoever_picks_up_is_told_as_it_happens(patient_publisher, bench, no_more_looks):
    handle = await patient_publisher.submit(make_intent())
    send(bench, handle.transfer_id)
    looks = count_steps(bench.client)
    waiting = asyncio.create_task(handle.connection())
    await wait_until_async(
        lambda: count_steps(bench.client) >= looks + 2
    )  # the outcome, and no connection yet

    bench.report("ringing", transfer_id=handle.transfer_id)
    await wait_until_async(lambda: count_steps(bench.client) >= looks + 4)  # ringing is no verdict
    assert not waiting.done()
    bench.report("not_connected", transfer_id=handle.transfer_id, reason="busy")

    async with asyncio.timeout(60):
        connection = await waiting
    assert (connection.status, connection.reason) == (ConnectionStatus.NOT_CONNECTED, ConnectionReason.BUSY)


async def test_an_unknown_outcome_can_still_be_followed_by_a_connection(patient_publisher, bench):
    handle = await patient_publisher.submit(make_intent())
    send(bench, handle.transfer_id, State.UNKNOWN, Reason.ANSWER_LOST)
    bench.report("connected", transfer_id=handle.transfer_id)
    async with asyncio.timeout(60):
        assert (await handle.connection()).status is ConnectionStatus.CONNECTED
        assert (await handle.outcome()).state is State.SUBMITTED


async def test_what_moved_nothing_connects_nobody(patient_publisher, bench):
    handle = await patient_publisher.submit(make_intent())
    bench.cancel(handle.transfer_id)
    async with asyncio.timeout(60):
        assert await handle.connection() is None


@pytest.mark.parametrize("is_ringing", [True, False])
async def test_where_nobody_says_anything_the_wait_ends_and_says_so(patient_publisher, bench, is_ringing):
    handle = await patient_publisher.submit(make_intent())
    send(bench, handle.transfer_id)
    if is_ringing:
        bench.report("ringing", transfer_id=handle.transfer_id)
    with pytest.raises(ConnectionTimeout) as raised:
        await handle.connection(timeout=0.2)
    assert raised.value.is_ringing == is_ringing


async def test_without_an_outcome_there_is_no_connection_to_wait_for(patient_publisher):
    handle = await patient_publisher.submit(make_intent())
    with pytest.raises(OutcomeTimeout):
        await handle.connection(timeout=0.1)
    with pytest.raises(TransferNotFound):
        await patient_publisher.handle("nobody-knows-it").connection()


def test_a_thread_waits_likewise(redis_url, bench):
    with TransferPublisher(make_settings(redis_url, publish_budget_seconds=30)) as publisher:
        handle = publisher.submit(make_intent())

        def report() -> None:
            send(bench, handle.transfer_id)
            bench.report("connected", transfer_id=handle.transfer_id)

        other = threading.Thread(target=report)
        other.start()
        connection = handle.connection(timeout=60)
        other.join()
    assert connection.status is ConnectionStatus.CONNECTED
