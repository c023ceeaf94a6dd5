"""Attempts to tell a session how its transfer ended, by the channel on which it is woken."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.cluster import make_intent
from support.publishing import make_settings, waiting_for
from support.signing import VOICE_KEY
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher import AsyncTransferPublisher, looking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.attackers import Attacker
    from support.ledger_bench import LedgerBench
    from support.signing import SignedCluster
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.publisher import AsyncTransferHandle


def forge(transfer_id: str, call_id: str, state: str, reason: str) -> str:
    """Return an outcome in the form that handles read on record."""
    return json.dumps(
        {
            "transfer_id": transfer_id, "call_id": call_id, "state": state, "reason": reason, "attempts": 1,
            "hop": 1, "source": "worker", "http_status": 200, "detail": "", "ended_at_ms": 1790000000000,
        }
    )  # fmt: skip


@contextmanager
def shouting(attacker: Attacker, bench: LedgerBench, transfer_id: str) -> Iterator[Callable[[str], None]]:
    """Yield what sends a word to everybody who waits for a transfer; where that is, the attacker is told."""
    channel: Any = bench.client.hget(bench.keys.record(transfer_id), "reply_to")

    def shout(word: str) -> None:
        assert others.client.publish(channel, word) == 1

    with attacker.trying("wake a session"), attacker.bench() as others:
        yield shout


async def submit(
    signed: SignedCluster, publisher: AsyncTransferPublisher, intent: TransferIntent | None = None
) -> AsyncTransferHandle:
    """Ask as an honest session does."""
    intent = intent or make_intent("support")
    handle = await publisher.submit(intent)
    signed.note(intent, handle.transfer_id)
    return handle


@pytest.fixture
def signed_settings(signed: SignedCluster) -> Any:
    return make_settings(signed.cluster.redis_url, publish_budget_seconds=30, signing_key=VOICE_KEY)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("submitted", "accepted_by_platform"), ("rejected", "refused_by_platform"), ("cancelled", "x")],
)
async def test_a_forged_outcome_ends_nobodys_wait(
    signed: SignedCluster, attacker: Attacker, signed_settings: Any, state: str, reason: str
) -> None:
    intent = make_intent("support")
    with signed.bench() as bench, signed.held_up():
        async with AsyncTransferPublisher(signed_settings) as publisher:
            handle = await submit(signed, publisher, intent)
            async with waiting_for(handle, client=bench.client) as (waiting,):
                forged = forge(handle.transfer_id, intent.call_id, state, reason)
                with shouting(attacker, bench, handle.transfer_id) as shout:
                    shout(forged)
                    shout(handle.transfer_id)
                bench.cancel(handle.transfer_id)
                outcome = await waiting
    assert (outcome.state, outcome.reason) == (State.CANCELLED, Reason.CANCELLED_BY_SESSION)
    assert signed.posts(intent.call_id) == 0
    with signed.bench() as bench:
        assert bench.events(handle.transfer_id) == ["accepted", "finished"]


@pytest.mark.parametrize("word", ["", "[]", "{}", "null", "\0", "x" * 100_000, '{"transfer_id":["a"]}'])
async def test_a_word_that_is_none_wakes_nobody_and_the_true_one_is_heard_after_it(
    signed: SignedCluster,
    attacker: Attacker,
    signed_settings: Any,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(looking, "LOOK_SECONDS", 1000)
    with signed.bench() as bench, signed.held_up():
        async with AsyncTransferPublisher(signed_settings) as publisher:
            handle = await submit(signed, publisher)
            async with waiting_for(handle, client=bench.client) as (waiting,):
                with shouting(attacker, bench, handle.transfer_id) as shout:
                    shout(word)
                bench.cancel(handle.transfer_id)
                assert (await waiting).state is State.CANCELLED


async def test_many_forged_wake_ups_are_not_as_many_looks(
    signed: SignedCluster, attacker: Attacker, signed_settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOK_SECONDS", 1000)
    looks = 0
    async with AsyncTransferPublisher(signed_settings) as publisher:
        run = publisher._lines.get().ledger.run

        async def count(*arguments: Any, **options: Any) -> Any:
            nonlocal looks
            looks += 1
            return await run(*arguments, **options)

        with signed.bench() as bench, signed.held_up():
            handle = await submit(signed, publisher)
            async with waiting_for(handle, client=bench.client) as (waiting,):
                monkeypatch.setattr(publisher._lines.get().ledger, "run", count)
                with shouting(attacker, bench, handle.transfer_id) as shout:
                    for _ in range(200):
                        shout(handle.transfer_id)
                        await asyncio.sleep(0)
                bench.cancel(handle.transfer_id)
                assert (await waiting).state is State.CANCELLED
    assert looks <= 50


async def test_what_the_worker_says_is_no_more_than_an_id(
    signed: SignedCluster, signed_settings: Any
) -> None:
    with signed.bench() as bench, bench.client.pubsub() as listener:
        with signed.held_up():
            async with AsyncTransferPublisher(signed_settings) as publisher:
                handle = await submit(signed, publisher)
                listener.subscribe(str(bench.client.hget(bench.keys.record(handle.transfer_id), "reply_to")))
                assert listener.get_message(timeout=10)
        said = listener.get_message(ignore_subscribe_messages=True, timeout=30)
    assert said
    assert said["data"] == handle.transfer_id
