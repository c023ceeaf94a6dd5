"""How things stand: ages, workers, windows, shares."""

from __future__ import annotations

import pytest

from support.ledger_bench import finish, start
from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.counts import Counts
from transfer_worker.monitoring.present import read_present
from transfer_worker.monitoring.statistics import SLICE_MS, read_status
from transfer_worker.operations.status import read_overview

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def test_what_waits_flies_and_is_unknown_is_told_with_its_age(bench):
    waiting, unknown = bench.accept(), start(bench)
    bench.accept()
    start(bench)
    bench.lose_answer(unknown)
    bench.client.zincrby(bench.keys.open_ids, -7000, waiting.transfer_id)
    bench.client.zincrby(bench.keys.unknown, -7000, unknown.transfer_id)

    present = read_present(bench.ledger)

    assert (present.waiting, present.in_flight, present.unknown) == (2, 1, 1)
    assert 7 <= present.oldest_waiting_seconds < 8
    assert 7 <= present.oldest_unknown_seconds < 8


def test_an_empty_ledger_has_no_ages_and_never_had_a_worker(bench):
    present = read_present(bench.ledger)

    assert (present.waiting, present.oldest_waiting_seconds, present.oldest_unknown_seconds) == (0, 0, 0)
    assert present.workers == ()
    assert present.heartbeat_age_seconds is None


def test_workers_are_told_apart_by_whether_their_lease_runs(bench):
    bench.heartbeat("well")
    bench.heartbeat("dead", lease_ms=1)
    bench.client.zincrby(bench.keys.workers, -5000, "dead")
    bench.heartbeat("retired")
    bench.run(bench.commands.retire(worker="retired"))

    present = read_present(bench.ledger)

    assert {worker.worker: worker.is_alive for worker in present.workers} == {"well": True, "dead": False}
    assert present.heartbeat_age_seconds < 1


def test_windows_hold_the_last_minutes_and_no_more(bench):
    finish(bench)
    now_slice = bench.client.time()[0] * 1000 // SLICE_MS
    for minutes_ago, reason in ((3, "rate_limited"), (30, "not_sent"), (90, "unauthorized")):
        key = bench.keys.statistics_slice(now_slice - minutes_ago * 6)
        bench.client.hincrby(key, f"ended|failed|{reason}|support", 2)
        bench.client.hincrby(key, "post_ms|50", 100)
        bench.client.expire(key, 100)

    one, five, sixty = read_status(bench.ledger).windows

    assert (one.outcomes[State.SUBMITTED], one.outcomes[State.FAILED], one.reasons) == (1, 0, {})
    assert (five.outcomes[State.FAILED], five.reasons) == (2, {"rate_limited": 2})
    assert sixty.reasons == {"rate_limited": 2, "not_sent": 2}
    assert sixty.destinations == {"support": 4}
    assert 30 < five.post_p50_ms <= 50
    assert 30 < five.post_p99_ms <= 50


def test_whether_the_platform_answers_is_told_in_shares(bench):
    for state, reason in (
        (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
        (State.UNKNOWN, Reason.ANSWER_LOST),
        (State.FAILED, Reason.RATE_LIMITED),
        (State.UNKNOWN, Reason.SERVER_ERROR),
        (State.FAILED, Reason.PLATFORM_UNAVAILABLE),
        (State.FAILED, Reason.NOT_SENT),  # says nothing of the platform
    ):
        finish(bench, state=state, reason=reason)

    status = read_status(bench.ledger)

    assert status.platform_requests == 5
    assert status.platform_shares == {"5xx": 0.4, "ok": 0.2, "silent": 0.2, "429": 0.2}
    assert status.redis.maxmemory_policy == "noeviction"


def test_quantiles_lie_within_their_bucket():
    counts = Counts({"post_ms|5": 98, "post_ms|700": 1, "post_ms|inf": 1})

    assert 3 < counts.quantile_ms("post_ms", 0.5) < 5
    assert counts.quantile_ms("post_ms", 0.99) == 700
    assert counts.quantile_ms("post_ms", 1) == 300_000
    assert Counts().quantile_ms("post_ms", 0.5) is None


def test_who_picked_up_is_told_by_destination_and_which_source_was_heard(bench):
    for destination, statuses in (("support", ["connected", "not_connected"]), ("sales", ["connected"])):
        for status in statuses:
            call_id = bench.record(finish(bench, destination=destination)).call_id
            bench.report(status, call_id)

    overview = read_overview(bench.ledger)

    assert [window["connections"] for window in overview["windows"]] == [
        {
            "support": {"connected": 1, "not_connected": 1, "share_connected": 0.5},
            "sales": {"connected": 1, "not_connected": 0, "share_connected": 1.0},
        }
    ] * 3
    assert overview["sources"]["room"]["requests_since"] == 0
    assert overview["sources"]["webhook"] is None


def test_a_damaged_note_of_what_was_heard_hides_nothing_else(bench):
    finish(bench)
    bench.client.hset(bench.keys.heard, mapping={"room": "junk", "webhook": "5 0"})
    bench.client.expire(bench.keys.heard, 100)
    present = read_present(bench.ledger)
    assert bench.keys.heard in present.damaged_keys
    assert present.heard["webhook"].accepted_since == 1
