"""What the ledger counts, on a real Redis: right for every path, and cheap to read however much has ended."""

from __future__ import annotations

import uuid
from importlib.resources import files

import pytest

from support.ledger_bench import LedgerBench
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_worker.monitoring.counts import BUCKETS_MS, Counts
from transfer_worker.monitoring.statistics import SLICE_MS, read_present, read_status
from transfer_worker.operations.listing import PAGE, list_transfers

pytestmark = pytest.mark.usefixtures("no_key_leaks")


@pytest.fixture
def bench(redis_url):
    with connect(redis_url, timeout_seconds=5) as client:
        yield LedgerBench(client)


def totals(bench):
    return read_present(bench.ledger).totals


def ended(bench):
    return {tuple(parts): value for parts, value in totals(bench).family("ended")}


def start(bench, **asked):
    """Bring a transfer to its first request."""
    accepted = bench.accept(**asked)
    claim = bench.claim(accepted.transfer_id)
    bench.begin(claim)
    return claim


def finish(bench, *, state=State.SUBMITTED, reason=Reason.ACCEPTED_BY_PLATFORM, **asked):
    """Bring a transfer to its end and return its id."""
    claim = start(bench, **asked)
    bench.end(claim, state, reason)
    return claim.transfer_id


# --- what is counted


def test_every_ending_is_counted_once_by_state_reason_and_destination(bench):
    finish(bench)
    finish(bench)
    finish(bench, destination="billing", state=State.REJECTED, reason=Reason.CALL_NOT_FOUND)
    bench.cancel(bench.accept().transfer_id)
    bench.expire(bench.accept(remaining_ms=0).transfer_id)
    bench.refuse(str(uuid.uuid4()))

    assert ended(bench) == {
        ("submitted", "accepted_by_platform", "support"): 2,
        ("rejected", "call_not_found", "billing"): 1,
        ("cancelled", "cancelled_by_session", "support"): 1,
        ("expired", "deadline_passed", "support"): 1,
        ("rejected", "invalid_intent", "unreadable"): 1,
    }
    assert totals(bench)["accepted"] == 5


def test_steps_that_are_repeated_count_nothing(bench):
    claim = start(bench)
    bench.begin(claim)
    bench.end(claim)
    before = totals(bench)

    bench.end(claim)
    bench.begin(claim)
    bench.cancel(claim.transfer_id)
    bench.expire(claim.transfer_id)
    bench.refuse(claim.transfer_id)

    assert totals(bench) == before


def test_each_request_is_counted_by_what_became_of_it(bench):
    claim = start(bench)
    bench.retry(claim)
    bench.begin(claim, attempt=2)
    bench.end(claim)

    assert dict_of(bench, "attempt") == {"platform_unavailable": 1, "accepted_by_platform": 1}
    assert dict_of(bench, "posts") == {"2": 1}


def test_a_refusal_by_the_rules_is_no_request(bench):
    bench.end(
        bench.claim(bench.accept().transfer_id), State.REJECTED, Reason.UNKNOWN_DESTINATION, http_status=None
    )

    assert dict_of(bench, "attempt") == {}
    assert dict_of(bench, "posts") == {"0": 1}


def test_a_refusal_after_a_takeover_does_not_count_the_last_request_again(bench):
    claim = start(bench)
    bench.retry(claim)
    bench.bury()
    bench.recover()
    bench.end(bench.claim(claim.transfer_id, worker="w2"), State.REJECTED, Reason.UNKNOWN_DESTINATION)

    assert dict_of(bench, "attempt") == {"platform_unavailable": 1}
    assert dict_of(bench, "requeued") == {"worker_died": 1}


def dict_of(bench, family):
    return {"|".join(parts): value for parts, value in totals(bench).family(family)}


def test_an_unknown_that_gets_its_truth_is_resolved_and_not_another_ending(bench):
    claim = start(bench)
    bench.lose_answer(claim)
    bench.resolve(claim.transfer_id, transferred=True)

    assert ended(bench) == {("unknown", "answer_lost", "support"): 1}
    assert dict_of(bench, "resolved") == {"submitted|transfer_confirmed": 1}


def test_a_request_that_was_given_up_is_counted_once_even_if_its_answer_comes_late(bench):
    claim = start(bench)
    bench.bury()
    bench.recover()
    bench.end(claim)

    assert dict_of(bench, "attempt") == {"worker_died": 1}
    assert dict_of(bench, "given_up") == {"worker_died": 1}
    assert dict_of(bench, "resolved") == {"submitted|accepted_by_platform": 1}


def test_requests_that_find_another_transfer_in_their_way_are_counted_by_verdict(bench):
    call_id = str(uuid.uuid4())
    bench.accept(call_id=call_id, key="k")
    bench.accept(call_id=call_id)
    bench.accept(call_id=call_id, destination="billing")
    bench.accept(key="k", destination="billing")

    assert dict_of(bench, "stood_back") == {"repeat": 1, "in_progress": 1, "conflict": 1}
    assert totals(bench)["accepted"] == 1


@pytest.mark.parametrize(
    ("waited_ms", "bucket"),
    [(0, 1), (1, 1), (2, 2), (4, 5), (11, 20), (70, 70), (71, 100), (299_999, 300_000), (300_001, "inf")],
)
def test_spans_fall_into_the_bucket_whose_bound_they_do_not_exceed(bench, waited_ms, bucket):
    prelude = (files("transfer_tasks.ledger") / "scripts" / "prelude.lua").read_text()
    found = bench.client.eval(prelude + "return bucket_of(tonumber(ARGV[3]))", 0, "transfer", 60, waited_ms)

    assert found == str(bucket)
    assert bucket == "inf" or bucket in BUCKETS_MS


def test_the_first_request_counts_for_the_span_and_no_other(bench):
    claim = start(bench)
    bench.retry(claim)
    bench.begin(claim, attempt=2)
    bench.end(claim)

    counts = totals(bench)
    assert sum(counts.histogram("post_ms")) == 1
    assert sum(counts.histogram("outcome_ms")) == 1
    assert counts["post_ms_sum"] <= counts["outcome_ms_sum"]


def test_a_clock_that_was_set_back_makes_no_negative_span(bench):
    claim = bench.claim(bench.accept().transfer_id)
    bench.client.hincrby(bench.keys.record(claim.transfer_id), "accepted_ms", 5000)
    bench.begin(claim)

    assert totals(bench)["post_ms|1"] == 1
    assert totals(bench)["post_ms_sum"] == 0


def test_anybody_may_send_any_name_and_the_counters_stay_few(bench):
    bench.client.hset(bench.keys.statistics, mapping={f"ended|rejected|x|{n}": 1 for n in range(2000)})
    bench.client.expire(bench.keys.statistics, 1000)
    for name in ("one", "two", "three"):
        finish(bench, destination=name)

    of_submitted = {key: value for key, value in ended(bench).items() if key[0] == "submitted"}
    assert of_submitted == {("submitted", "accepted_by_platform", "other"): 3}


@pytest.mark.parametrize("name", ["a|b", "a b", "ü", "", "x" * 65])
def test_a_name_that_could_not_be_read_back_is_unreadable(bench, name):
    finish(bench, destination=name)

    assert ended(bench) == {("submitted", "accepted_by_platform", "unreadable"): 1}


def test_two_requests_that_may_both_have_moved_a_call_are_counted_where_redis_forgot_a_step(bench):
    stale = start(bench)
    # As after a failover to a replica that had not heard of the request yet.
    bench.client.hset(bench.keys.record(stale.transfer_id), "state", "claimed")
    bench.bury()
    bench.recover()
    bench.begin(bench.claim(stale.transfer_id, worker="w2"))
    bench.end(stale)

    assert totals(bench)["double_posts"] == 1


def test_two_requests_that_may_both_have_moved_a_call_are_counted_where_the_evidence_was_wrong(bench):
    call_id = str(uuid.uuid4())
    first = start(bench, call_id=call_id)
    bench.bury()
    bench.recover()
    bench.resolve(first.transfer_id, transferred=False)
    finish(bench, call_id=call_id)
    bench.end(first)

    assert totals(bench)["double_posts"] == 1


def test_a_late_answer_alone_is_no_double_post(bench):
    claim = start(bench)
    bench.bury()
    bench.recover()
    bench.resolve(claim.transfer_id, transferred=False)
    bench.end(claim)

    assert totals(bench)["double_posts"] == 0


# --- how things stand


def test_what_waits_flies_and_is_unknown_is_told_with_its_age(bench):
    waiting, unknown = bench.accept(), start(bench)
    bench.accept()
    start(bench)
    bench.lose_answer(unknown)
    for index, transfer_id in (("waiting", waiting.transfer_id), ("unknown", unknown.transfer_id)):
        bench.client.zincrby(getattr(bench.keys, index), -7000, transfer_id)

    present = read_present(bench.ledger)

    assert (present.waiting, present.in_flight, present.unknown) == (2, 1, 1)
    assert 7 <= present.oldest_waiting_seconds < 8
    assert 7 <= present.oldest_unknown_seconds < 8


def test_an_empty_ledger_has_no_ages_and_never_had_a_worker(bench):
    present = read_present(bench.ledger)

    assert (present.waiting, present.oldest_waiting_seconds, present.oldest_unknown_seconds) == (0, 0, 0)
    assert present.workers == ()
    assert present.beat_age_seconds is None


def test_workers_are_told_apart_by_whether_their_lease_runs(bench):
    bench.beat("well")
    bench.beat("dead", lease_ms=1)
    bench.client.zincrby(bench.keys.workers, -5000, "dead")
    bench.beat("retired")
    bench.run(bench.commands.retire(worker="retired"))

    present = read_present(bench.ledger)

    assert {worker.worker: worker.is_alive for worker in present.workers} == {"well": True, "dead": False}
    assert present.beat_age_seconds < 1


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


# --- which ones


def ids(records):
    return [record.transfer_id for record in records]


def test_ended_transfers_are_found_by_state_reason_and_destination_the_newest_first(bench):
    first = finish(bench, state=State.FAILED, reason=Reason.RATE_LIMITED)
    finish(bench)
    other = finish(bench, state=State.FAILED, reason=Reason.NOT_SENT, destination="billing")
    last = finish(bench, state=State.FAILED, reason=Reason.RATE_LIMITED)

    assert ids(list_transfers(bench.ledger, states=[State.FAILED])) == [last, other, first]
    assert ids(list_transfers(bench.ledger, states=[State.FAILED], limit=1)) == [last]
    assert ids(list_transfers(bench.ledger, reason=Reason.RATE_LIMITED)) == [last, first]
    assert ids(list_transfers(bench.ledger, destination="billing")) == [other]
    assert list_transfers(bench.ledger, states=[State.UNKNOWN]) == []


def test_open_transfers_are_listed_first_and_by_their_states(bench):
    done = finish(bench)
    sending = start(bench).transfer_id
    claimed = bench.claim(bench.accept(destination="billing").transfer_id).transfer_id
    waiting = bench.accept().transfer_id

    assert set(ids(list_transfers(bench.ledger))[1:3]) == {claimed, sending}
    assert ids(list_transfers(bench.ledger))[::3] == [waiting, done]
    assert ids(list_transfers(bench.ledger, states=[State.WAITING])) == [waiting]
    assert ids(list_transfers(bench.ledger, states=[State.SENDING])) == [sending]
    assert ids(list_transfers(bench.ledger, destination="billing")) == [claimed]
    assert ids(list_transfers(bench.ledger, limit=1)) == [waiting]


def test_a_transfer_that_was_resolved_is_listed_once_as_what_it_is_now(bench):
    claim = start(bench)
    bench.lose_answer(claim)
    bench.resolve(claim.transfer_id, transferred=True)

    assert ids(list_transfers(bench.ledger)) == [claim.transfer_id]
    assert list_transfers(bench.ledger, states=[State.UNKNOWN]) == []


def test_what_ended_earlier_is_left_out_also_in_another_hour(bench):
    now_ms = bench.client.time()[0] * 1000
    old = finish(bench)
    hours_ago = now_ms - 3 * 3_600_000
    bench.client.hset(bench.keys.record(old), "ended_ms", hours_ago)
    bench.client.delete(bench.keys.ended("submitted", now_ms // 3_600_000))
    key = bench.keys.ended("submitted", hours_ago // 3_600_000)
    bench.client.rpush(key, f"{old} {hours_ago} accepted_by_platform support")
    bench.client.expire(key, 1000)

    assert list_transfers(bench.ledger, since_seconds=2 * 3600) == []
    assert list_transfers(bench.ledger, since_seconds=3 * 3600 - 60) == []
    assert ids(list_transfers(bench.ledger, since_seconds=3 * 3600 + 60)) == [old]


FILL = """
local at_ms, hour = tonumber(ARGV[2]), ARGV[3]
for number = 1, tonumber(ARGV[1]) do
  local id = 'ended-' .. number
  redis.call('HSET', 'transfer:record:' .. id, 'call_id', id, 'key', id, 'hop', '1', 'attempt', '1',
    'state', 'submitted', 'reason', 'accepted_by_platform', 'labels', '{"destination": "support"}',
    'accepted_ms', at_ms, 'expires_ms', at_ms, 'ended_ms', at_ms)
  redis.call('EXPIRE', 'transfer:record:' .. id, 1000)
  redis.call('RPUSH', 'transfer:ended:submitted:' .. hour,
    id .. ' ' .. at_ms .. ' accepted_by_platform support')
end
redis.call('EXPIRE', 'transfer:ended:submitted:' .. hour, 1000)
"""


def commands_of(bench, act):
    """Return how many commands Redis served for it."""
    bench.client.config_resetstat()
    act()
    stats = bench.client.info("commandstats")
    return sum(entry["calls"] for name, entry in stats.items() if name != "cmdstat_config|resetstat")


def test_a_hundred_thousand_ended_transfers_cost_the_desk_nothing(bench):
    finish(bench, state=State.FAILED, reason=Reason.RATE_LIMITED)

    def look():
        assert read_status(bench.ledger).windows[0].outcomes[State.FAILED] == 1
        assert len(list_transfers(bench.ledger, states=[State.FAILED])) == 1
        assert len(list_transfers(bench.ledger, limit=20)) >= 1

    few = commands_of(bench, look)
    now_ms = bench.client.time()[0] * 1000
    bench.client.eval(FILL, 0, 100_000, now_ms, now_ms // 3_600_000)

    assert commands_of(bench, look) <= few + 20  # the page of 20 is full now
    bench.client.flushall()  # or the check for leaked keys would look at each


def test_a_listing_goes_over_pages(bench):
    now_ms = bench.client.time()[0] * 1000
    bench.client.eval(FILL, 0, 2 * PAGE + 1, now_ms, now_ms // 3_600_000)

    listed = ids(list_transfers(bench.ledger, limit=3 * PAGE))

    assert listed == [f"ended-{number}" for number in range(2 * PAGE + 1, 0, -1)]
