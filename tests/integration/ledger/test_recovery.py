"""Heartbeats and sweeps: whose claim is taken over, what is queued again, what ends unknown."""

from __future__ import annotations

import time

import pytest

from support import wait_until
from support.ledger_bench import LONG_MS, outcome_of, start
from transfer_tasks.ledger.verdicts import (
    Begun,
    Claim,
    Ended,
    Lost,
    Recovered,
)
from transfer_tasks.outcome import Reason, State
from transfer_worker.queue.poison import read_element

NOTHING = Recovered(requeued=0, given_up=0, expired=0, gone_workers=0)


@pytest.fixture
def given_up(bench, sending) -> Claim:
    """A claim whose transfer was given up as unknown while its worker was held up."""
    bench.bury("w1")
    assert bench.recover().given_up == 1
    return sending


def test_a_heartbeat_lives_as_long_as_its_lease_and_retiring_ends_it(bench):
    bench.heartbeat("w1", lease_ms=30)
    assert 0 < bench.client.pttl(bench.keys.worker("w1")) <= 30
    wait_until(lambda: not bench.client.exists(bench.keys.worker("w1")))
    bench.heartbeat("w2")
    bench.run(bench.commands.retire(worker="w2"))
    assert bench.client.zscore(bench.keys.workers, "w2") == 0  # the next sweep sees to what it had fetched
    assert not bench.client.exists(bench.keys.worker("w2"))


def test_one_sweep_a_time_interval_acts(bench, claim):
    bench.bury("w1")
    assert bench.recover().requeued == 1
    bench.claim(claim.transfer_id, worker="w2")
    assert bench.recover(interval_ms=LONG_MS) == NOTHING
    assert bench.recover().requeued == 1


def test_the_message_that_is_sent_anew_brings_the_intent_and_its_signature_as_the_first_one_did(bench):
    accepted = bench.accept(signature="voice:5")
    bench.bury("w1")
    bench.claim(accepted.transfer_id)
    bench.client.delete(bench.queue)

    assert bench.recover().requeued == 1

    element = read_element(bench.client.rpop(bench.queue).encode(), queue=bench.queue)
    headers = element.as_seen_by_celery()["headers"]
    assert element.plain is None
    assert (headers["id"], headers["signature"]) == (accepted.transfer_id, "voice:5")
    assert headers["intent"] == bench.record(accepted.transfer_id).intent_json


def test_a_message_that_an_older_version_has_kept_is_sent_as_it_is(bench, claim):
    bench.client.hset(bench.keys.record(claim.transfer_id), "message", "as it was")
    bench.bury("w1")
    bench.client.delete(bench.queue)
    assert bench.recover().requeued == 1
    assert bench.client.lrange(bench.queue, 0, -1) == ["as it was"]


def test_a_request_that_was_held_back_for_minutes_gets_no_fresh_deadline(bench):
    minutes_ago_ms = round(time.time() * 1000) - 120_000
    late = bench.accept(remaining_ms=15_000, latest_ms=minutes_ago_ms)
    assert bench.claim(late.transfer_id).outcome.reason == "deadline_passed"


def test_a_clock_that_was_set_back_does_not_stop_recovery(bench, claim):
    bench.bury("w1")
    ahead_ms = round(time.time() * 1000) + LONG_MS
    bench.client.hset(bench.keys.sweep, mapping={"last_ms": ahead_ms, "resumed_ms": 0})
    assert bench.recover(interval_ms=LONG_MS).requeued == 1


def test_nobody_is_judged_before_the_living_have_had_time_for_a_heartbeat(bench, claim):
    bench.bury("w1")
    assert bench.recover(grace_ms=LONG_MS) == NOTHING
    assert bench.recover(grace_ms=LONG_MS) == NOTHING
    assert bench.recover(grace_ms=0).requeued == 1


def test_after_a_time_without_sweeps_the_grace_begins_anew(bench, claim):
    bench.recover(grace_ms=0, lease_ms=20)
    bench.bury("w1")
    time.sleep(0.03)
    assert bench.recover(grace_ms=LONG_MS, lease_ms=20) == NOTHING


def test_a_dead_workers_claim_is_queued_again_for_the_next_to_take(bench, claim):
    younger = bench.accept().transfer_id
    bench.client.rpop(bench.queue)  # what the dead worker had fetched
    bench.bury("w1")
    assert bench.recover() == Recovered(requeued=1, given_up=0, expired=0, gone_workers=0)
    assert bench.queued() == [claim.transfer_id, younger]
    assert bench.record(claim.transfer_id).state is State.WAITING
    assert bench.index("waiting") == {claim.transfer_id, younger}
    line = bench.audit(claim.transfer_id)[-1]
    assert (line["event"], line["why"], line["worker"]) == ("transfer.requeued", "worker_died", "w1")
    successor = bench.claim(claim.transfer_id, worker="w2")
    assert isinstance(successor, Claim)
    assert int(successor.token) > int(claim.token)
    assert bench.begin(claim) == Lost("claimed", None)
    assert isinstance(bench.begin(successor), Begun)


def test_a_worker_that_was_taken_over_from_can_do_nothing_before_the_heir_has_claimed(bench, sending):
    """Its last step may have been carried out with the answer lost, and so be repeated after the takeover."""
    bench.retry(sending)
    bench.bury("w1")
    bench.recover()
    assert isinstance(bench.retry(sending), Lost)
    assert isinstance(bench.begin(sending, attempt=2), Lost)
    assert isinstance(bench.end(sending, State.FAILED, Reason.NOT_SENT), Lost)
    assert bench.record(sending.transfer_id).state is State.WAITING
    assert bench.index("waiting") == {sending.transfer_id}
    assert bench.events(sending.transfer_id).count("retry_scheduled") == 1


def test_what_an_older_version_has_listed_is_taken_over(bench, sending):
    waiting = bench.accept().transfer_id
    ended = bench.accept().transfer_id
    bench.cancel(ended)
    bench.client.delete(bench.keys.open_ids)
    old_waiting, old_in_flight = bench.keys.lists_of_an_older_version
    bench.client.zadd(old_waiting, {waiting: 1})
    bench.client.zadd(old_in_flight, {sending.transfer_id: 1, ended: 2})
    claimed_by_an_old_worker = start(bench).transfer_id  # it stays where the acceptance has put it
    bench.client.zadd(bench.keys.open_ids, {claimed_by_an_old_worker: 1})
    bench.heartbeat()
    for _ in range(3):  # to the new order, to its place there, and nothing more
        bench.recover()
    assert (bench.index("waiting"), bench.index("in_flight")) == (
        {waiting},
        {sending.transfer_id, claimed_by_an_old_worker},
    )
    assert not bench.client.exists(old_waiting, old_in_flight)


def test_the_oldest_is_first_in_line_after_a_recovery(bench):
    ids = []
    for _ in range(3):
        ids.append(bench.accept().transfer_id)
        bench.claim(ids[-1])
        time.sleep(0.002)
    bench.client.delete(bench.queue)
    bench.bury("w1")
    assert bench.recover().requeued == 3
    assert bench.queued() == ids


def test_a_living_worker_keeps_its_claim(bench, claim):
    bench.heartbeat("w1")
    assert bench.recover() == NOTHING
    assert isinstance(bench.begin(claim), Begun)


def test_what_a_dead_worker_was_sending_ends_unknown_and_is_not_queued(bench, sending):
    bench.client.delete(bench.queue)
    bench.bury("w1")
    assert bench.recover().given_up == 1
    outcome = bench.record(sending.transfer_id).outcome
    assert outcome is not None
    assert (outcome.state, outcome.reason, outcome.source) == (
        State.UNKNOWN,
        Reason.WORKER_DIED,
        "recovery",
    )
    assert bench.queued() == []
    assert bench.index("unknown") == {sending.transfer_id}
    assert bench.begin(sending) == Lost("unknown", outcome)


def test_a_living_worker_that_never_settles_is_given_up_after_the_attempts_bound(bench, sending):
    bench.heartbeat("w1")
    assert bench.recover(attempt_bound_ms=LONG_MS) == NOTHING
    time.sleep(0.002)
    assert bench.recover(attempt_bound_ms=0).given_up == 1
    assert bench.record(sending.transfer_id).reason is Reason.ANSWER_LOST


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM), (State.REJECTED, Reason.CALL_NOT_FOUND)],
)
def test_an_answer_that_comes_late_corrects_what_was_given_up(bench, given_up, state, reason):
    late = bench.end(given_up, state, reason)
    assert outcome_of(late).state is state
    assert bench.end(given_up, state, reason) == late
    assert bench.events(given_up.transfer_id)[-2:] == ["finished", "resolved"]
    assert bench.index("unknown") == set()
    assert bench.record(given_up.transfer_id).attempt_notes[0]["reason"] == reason


def test_a_late_proof_that_nothing_happened_ends_it_as_failed_without_another_attempt(bench, given_up):
    outcome = outcome_of(bench.retry(given_up))
    assert (outcome.state, outcome.reason) == (State.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert isinstance(bench.begin(given_up, attempt=2), Lost)


def test_a_late_answer_that_knows_nothing_leaves_it_as_it_is(bench, given_up):
    before = bench.record(given_up.transfer_id).outcome
    assert bench.lose_answer(given_up) == Ended(before)
    assert bench.events(given_up.transfer_id).count("resolved") == 0


def test_a_late_acceptance_is_believed_more_than_evidence_to_the_contrary(bench, given_up):
    bench.resolve(given_up.transfer_id, transferred=False)
    assert outcome_of(bench.end(given_up)).state is State.SUBMITTED
    assert bench.events(given_up.transfer_id)[-3:] == ["finished", "resolved", "resolved"]


def test_what_waits_past_its_deadline_is_ended_by_the_sweep(bench):
    late, in_time = bench.accept(remaining_ms=-1).transfer_id, bench.accept().transfer_id
    assert bench.recover().expired == 1
    outcome = bench.record(late).outcome
    assert outcome is not None
    assert (outcome.state, outcome.source) == (State.EXPIRED, "recovery")
    assert bench.record(in_time).state is State.WAITING


def test_a_dead_workers_late_claim_is_ended_instead_of_queued(bench):
    transfer_id = bench.accept(remaining_ms=30).transfer_id
    bench.claim(transfer_id)
    time.sleep(0.04)
    assert bench.recover() == Recovered(requeued=0, given_up=0, expired=1, gone_workers=0)
    assert bench.record(transfer_id).state is State.EXPIRED


def test_a_living_workers_forgotten_claim_is_ended_after_the_deadline_and_the_bound(bench):
    transfer_id = bench.accept(remaining_ms=20).transfer_id
    bench.claim(transfer_id)
    bench.heartbeat("w1")
    time.sleep(0.03)
    assert bench.recover(attempt_bound_ms=LONG_MS) == NOTHING
    assert bench.recover(attempt_bound_ms=0).expired == 1


def test_a_lost_message_is_rung_again_when_the_queue_shows_that_it_is_gone(bench, waiting):
    bench.client.delete(bench.queue)
    assert bench.recover(lease_ms=LONG_MS) == NOTHING  # it may be between queue and worker just now
    time.sleep(0.005)
    assert bench.recover(lease_ms=1).requeued == 1
    assert bench.queued() == [waiting]
    assert bench.audit(waiting)[-1]["why"] == "message_lost"
    assert bench.recover(lease_ms=1).requeued == 0


def test_a_message_that_is_still_in_the_queue_is_not_doubled(bench):
    ids = []
    for _ in range(3):
        ids.append(bench.accept().transfer_id)
        time.sleep(0.002)
    assert bench.recover(lease_ms=1).requeued == 0
    assert bench.queued() == ids


def test_a_lost_message_is_found_behind_younger_ones(bench, waiting):
    bench.client.delete(bench.queue)
    time.sleep(0.002)
    younger = bench.accept().transfer_id
    time.sleep(0.005)
    assert bench.recover(lease_ms=1).requeued == 1
    assert bench.queued() == [waiting, younger]


def test_a_fetched_message_is_left_alone_until_a_worker_is_lost(bench, waiting):
    bench.client.rpop(bench.queue)
    bench.client.hset("transfer:unacked", waiting, "[]")
    bench.client.zadd("transfer:unacked_index", {waiting: 1})
    bench.heartbeat("w1")
    time.sleep(0.005)
    assert bench.recover(lease_ms=1) == NOTHING
    bench.bury("w1")
    assert bench.recover() == Recovered(requeued=1, given_up=0, expired=0, gone_workers=1)
    assert bench.queued() == [waiting]
    assert not bench.client.exists("transfer:unacked", "transfer:unacked_index")
    assert bench.audit(waiting)[-1]["why"] == "its_worker_has_gone"


def test_a_worker_that_stops_in_good_order_leaves_its_fetched_messages_to_others_at_once(bench, waiting):
    bench.client.rpop(bench.queue)
    bench.client.hset("transfer:unacked", waiting, "[]")
    bench.heartbeat("w1")
    bench.run(bench.commands.retire(worker="w1"))
    assert bench.recover().requeued == 1
    assert bench.queued() == [waiting]
    assert bench.client.zcard(bench.keys.workers) == 0


@pytest.mark.parametrize(
    "junk", ["junk", "[]", '{"headers": 1}', '{"headers": {"id": null}}', '{"headers": {}}']
)
def test_junk_at_the_end_of_the_queue_does_not_stop_the_sweep(bench, claim, junk):
    bench.client.rpush(bench.queue, junk)
    bench.bury("w1")
    assert bench.recover(lease_ms=1).requeued == 1


def test_a_sweep_looks_at_no_more_than_its_limit(bench):
    for _ in range(5):
        bench.accept(remaining_ms=-1)
    assert [bench.recover(limit=2).expired for _ in range(3)] == [2, 2, 1]


def test_a_record_that_is_gone_leaves_the_indexes(bench, claim, waiting):
    other = bench.accept().transfer_id
    bench.client.delete(bench.keys.record(claim.transfer_id), bench.keys.record(other))
    assert bench.recover() == NOTHING
    assert bench.index("waiting") == bench.index("in_flight") == set()
