"""Who may act: a claim, its fencing token, and the attempt that may begin with it."""

from __future__ import annotations

import json
import multiprocessing
import uuid
from dataclasses import replace

import pytest

from support.ledger_bench import LONG_MS, outcome_of
from transfer_tasks.ledger.verdicts import (
    Claim,
    Ended,
    Lost,
    Missing,
    Open,
)
from transfer_tasks.outcome import Reason, State


def test_a_claim_hands_out_everything_that_an_attempt_needs(bench):
    accepted = bench.accept(call_id="c", key="k")
    claim = bench.claim(accepted.transfer_id, worker="w1")
    assert isinstance(claim, Claim)
    assert (claim.token, claim.call_id, claim.idempotency_key) == ("1", "c", "k")
    assert (claim.hop, claim.attempts, json.loads(claim.intent_json)) == (1, 0, {"destination": "support"})
    assert 0 < claim.remaining_ms <= LONG_MS
    record = bench.record(accepted.transfer_id)
    assert (record.state, record.worker) == (State.CLAIMED, "w1")
    assert bench.index("waiting") == set()
    assert bench.index("in_flight") == {accepted.transfer_id}
    line = bench.audit()[-1]
    assert (line["event"], line["worker"]) == ("transfer.claimed", "w1")
    assert line["waited_ms"] >= 0


def test_the_same_claim_again_gets_the_same_token_and_another_is_told_who_holds_it(bench, waiting):
    first, again = bench.claim(waiting, claim_id="a"), bench.claim(waiting, claim_id="a")
    assert isinstance(first, Claim)
    assert isinstance(again, Claim)
    assert again.token == first.token
    assert bench.claim(waiting, worker="w2") == Open(State.CLAIMED, worker="w1")
    assert bench.events(waiting) == ["accepted", "claimed"]


def test_nobody_claims_what_is_being_sent(bench, sending):
    assert bench.claim(sending.transfer_id, worker="w2") == Open(State.SENDING, worker="w1")


def test_a_claim_of_what_has_ended_returns_the_outcome(bench, sending):
    bench.end(sending)
    assert outcome_of(bench.claim(sending.transfer_id)).state is State.SUBMITTED


def test_a_claim_after_the_deadline_ends_it_as_expired_and_names_no_attempt(bench):
    accepted = bench.accept(remaining_ms=-1)
    outcome = outcome_of(bench.claim(accepted.transfer_id))
    assert (outcome.state, outcome.reason, outcome.attempts) == (State.EXPIRED, Reason.DEADLINE_PASSED, 0)
    assert bench.index("waiting") == bench.index("in_flight") == set()


def test_what_is_not_on_record_is_missing_for_every_step(bench, claim):
    nobody = Claim(str(uuid.uuid4()), "1", "c", "k", 1, 0, 1, "{}")
    assert bench.claim(nobody.transfer_id) == Missing()
    assert bench.expire(nobody.transfer_id) == Missing()
    assert bench.resolve(nobody.transfer_id, transferred=True) == Missing()
    assert bench.cancel(nobody.transfer_id) == (False, Missing())
    assert bench.begin(nobody) == Lost("missing", None)
    assert bench.end(nobody) == Lost("missing", None)
    assert bench.ledger.read(nobody.transfer_id) is None


def test_a_claim_that_was_taken_away_is_not_handed_out_again(bench, waiting):
    assert isinstance(bench.claim(waiting, claim_id="a"), Claim)
    bench.bury("w1")
    assert bench.recover().requeued == 1
    assert bench.claim(waiting, claim_id="a") == Open(State.WAITING, worker="w1")
    assert isinstance(bench.claim(waiting, claim_id="b"), Claim)


def test_a_forked_process_asks_over_a_connection_of_its_own(bench, waiting):
    def connections_made() -> int:
        return int(bench.client.info("stats")["total_connections_received"])

    for _ in range(2):  # the first may load the script, over another connection
        assert isinstance(bench.expire(waiting), Open)
    before = connections_made()
    child = multiprocessing.get_context("fork").Process(target=bench.expire, args=(waiting,))
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert connections_made() == before + 1
    assert isinstance(bench.expire(waiting), Open)


def test_a_claim_with_the_intent_in_hand_begins_the_attempt_too(bench, waiting):
    claim = bench.claim_and_begin(waiting)
    assert isinstance(claim, Claim)
    assert (claim.is_begun, claim.attempts, claim.token) == (True, 0, "1")
    record = bench.record(waiting)
    assert (record.state, record.attempts, record.worker) == (State.SENDING, 1, "w1")
    assert bench.events(waiting) == ["accepted", "claimed", "attempt_started"]
    assert [line["attempt"] for line in bench.audit()] == [0, 0, 1]
    assert bench.index("in_flight") == {waiting}
    assert isinstance(bench.end(claim), Ended)


@pytest.mark.parametrize("routed", ["", "{}", '{"destination": "sales"}'])
def test_a_claim_with_another_intent_in_hand_begins_nothing(bench, waiting, routed):
    claim = bench.claim(waiting, routed=routed)
    assert isinstance(claim, Claim)
    assert not claim.is_begun
    assert bench.record(waiting).state is State.CLAIMED
    assert bench.events(waiting) == ["accepted", "claimed"]


def test_the_same_claim_again_says_again_that_the_attempt_is_begun(bench, waiting):
    first = bench.claim_and_begin(waiting, claim_id="a")
    again = bench.claim_and_begin(waiting, claim_id="a")
    assert isinstance(first, Claim)
    assert again == replace(first, remaining_ms=again.remaining_ms)
    assert bench.claim_and_begin(waiting, claim_id="b") == Open(State.SENDING, worker="w1")
    assert bench.record(waiting).attempts == 1
    assert bench.events(waiting) == ["accepted", "claimed", "attempt_started"]


def test_a_claim_that_comes_late_begins_no_attempt_of_a_transfer_that_waits_for_its_next(bench, waiting):
    claim = bench.claim_and_begin(waiting, claim_id="a")
    bench.end(claim, State.CLAIMED, Reason.PLATFORM_UNAVAILABLE)
    late = bench.claim_and_begin(waiting, claim_id="a")
    assert isinstance(late, Claim)
    assert (late.is_begun, late.attempts) == (False, 1)
    assert bench.record(waiting).state is State.CLAIMED
    bench.bury("w1")
    bench.recover()
    assert bench.claim_and_begin(waiting, claim_id="a") == Open(State.WAITING, worker="w1")


def test_an_heir_begins_the_attempt_after_the_last(bench, waiting):
    claim = bench.claim_and_begin(waiting)
    bench.end(claim, State.CLAIMED, Reason.PLATFORM_UNAVAILABLE)
    bench.bury("w1")
    bench.recover()
    successor = bench.claim_and_begin(waiting, worker="w2")
    assert isinstance(successor, Claim)
    assert (successor.is_begun, successor.attempts, bench.record(waiting).attempts) == (True, 1, 2)
    assert isinstance(bench.end(claim), Lost)


def test_nothing_is_begun_for_what_is_late_or_paused(bench):
    late = bench.accept(remaining_ms=-1).transfer_id
    assert outcome_of(bench.claim_and_begin(late)).state is State.EXPIRED
    assert bench.record(late).attempts == 0
