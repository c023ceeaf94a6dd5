"""One worker's steps over a bad line: repeated until they are answered, and never done twice."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from support import TO_CLIENT, FaultProxy, wait_until
from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.metronome import within
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.verdicts import Begun, Claim, Ended
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_worker.delivery.ports import AttemptNote
from transfer_worker.ledger.steps import LedgerSteps

if TYPE_CHECKING:
    from collections.abc import Iterator

SUBMITTED = AttemptNote(state=State.SUBMITTED, reason=Reason.ACCEPTED_BY_PLATFORM, http_status=200)


@pytest.fixture
def proxy(redis_url: str) -> Iterator[FaultProxy]:
    with FaultProxy.before(redis_url) as proxy:
        yield proxy


@pytest.fixture
def bench(redis_url: str) -> Iterator[LedgerBench]:
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)


@pytest.fixture
def steps(proxy: FaultProxy, redis_url: str) -> Iterator[LedgerSteps]:
    with connect(proxy.url_for(redis_url), timeout_seconds=0.1) as client:
        yield LedgerSteps(
            Ledger(client, namespace="transfer", retention_seconds=100),
            worker="w1",
            queue="transfers",
            repeat_window_seconds=30,
            settle_patience_seconds=5,
        )


def lose_answers_for_a_moment(proxy: FaultProxy) -> threading.Timer:
    """Let questions through and lose their answers, until a moment later."""
    proxy.drop(TO_CLIENT)
    healing = threading.Timer(0.3, proxy.heal)
    healing.start()
    return healing


def test_a_claim_whose_answer_is_lost_is_repeated_as_the_same_claim(steps, bench, proxy):
    transfer_id = bench.accept().transfer_id
    steps.claim(str(uuid.uuid4()))  # the connection stands
    healing = lose_answers_for_a_moment(proxy)
    claim = steps.claim(transfer_id)
    healing.join()
    assert isinstance(claim, Claim)
    assert claim.token == "1"
    assert bench.events(transfer_id) == ["accepted", "claimed"]


def test_an_intent_that_came_with_its_message_is_accepted_once(steps, bench, proxy):
    intent = make_intent()
    steps.claim(intent.transfer_id)
    healing = lose_answers_for_a_moment(proxy)
    assert steps.accept(intent).verdict in {"accepted", "existing"}
    healing.join()
    assert bench.events(intent.transfer_id) == ["accepted"]


def test_an_attempt_and_its_answer_are_on_record_once(steps, bench, proxy):
    transfer_id = bench.accept().transfer_id
    claim = steps.claim(transfer_id)
    assert isinstance(claim, Claim)
    healing = lose_answers_for_a_moment(proxy)
    assert isinstance(steps.begin_attempt(claim, attempt=1), Begun)
    healing.join()
    healing = lose_answers_for_a_moment(proxy)
    assert isinstance(steps.end_attempt(claim, SUBMITTED), Ended)
    healing.join()
    assert bench.events(transfer_id) == ["accepted", "claimed", "attempt_started", "finished"]


def test_an_answer_of_the_platform_waits_for_redis_to_come_back(steps, bench, proxy):
    claim = steps.claim(bench.accept().transfer_id)
    assert isinstance(claim, Claim)
    steps.begin_attempt(claim, attempt=1)
    proxy.cut()
    proxy.refuse()
    settled: list[object] = []
    thread = threading.Thread(target=lambda: settled.append(steps.end_attempt(claim, SUBMITTED)))
    thread.start()
    time.sleep(0.2)
    assert bench.record(claim.transfer_id).state is State.SENDING
    proxy.heal()
    wait_until(lambda: bench.record(claim.transfer_id).state is State.SUBMITTED)
    thread.join()
    assert isinstance(settled[0], Ended)


def test_an_answer_that_does_not_come_is_said_to_be_that(proxy, redis_url):
    with connect(proxy.url_for(redis_url), timeout_seconds=0.1) as client:
        ledger = Ledger(client, namespace="transfer", retention_seconds=100)
        ledger.run(ledger.commands.retire(worker="w1"))
        proxy.drop(TO_CLIENT)
        with within(1.0), pytest.raises(LedgerUnavailable, match=r"no answer within 0\.1 s"):
            ledger.run(ledger.commands.retire(worker="w1"))
        proxy.heal()
        ledger.run(ledger.commands.retire(worker="w1"))


def test_patience_ends(steps, proxy, monkeypatch):
    monkeypatch.setattr("transfer_worker.ledger.steps.CLAIM_PATIENCE_SECONDS", 0.3)
    proxy.refuse()
    started = time.monotonic()
    with within(1.0), pytest.raises(LedgerUnavailable):
        steps.claim(str(uuid.uuid4()))
    assert time.monotonic() - started >= 0.3


def test_no_attempt_begins_when_the_line_is_back_after_the_deadline(steps, bench, proxy):
    claim = steps.claim(bench.accept(remaining_ms=200).transfer_id)
    assert isinstance(claim, Claim)
    proxy.cut()
    proxy.refuse()
    with pytest.raises(LedgerUnavailable):
        steps.begin_attempt(claim, attempt=1)
    proxy.heal()
    assert not isinstance(steps.begin_attempt(claim, attempt=1), Begun)
