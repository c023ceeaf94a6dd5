"""What is counted: each ending, each request and each span once."""

from __future__ import annotations

import uuid
from importlib.resources import files

import pytest

from support.ledger_bench import finish, start
from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.counts import BUCKETS_MS
from transfer_worker.monitoring.present import read_present

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def totals(bench):
    return read_present(bench.ledger).totals


def ended(bench):
    return {tuple(parts): value for parts, value in totals(bench).family("ended", parts=3)}


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
    parts = 2 if family == "resolved" else 1
    return {"|".join(of): value for of, value in totals(bench).family(family, parts=parts)}


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
    start = (files("transfer_tasks.ledger") / "scripts" / "frame" / "start.lua").read_text()
    found = bench.client.eval(start + "return bucket_of(tonumber(ARGV[3]))", 0, "transfer", 60, waited_ms)

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
    bench.end(claim)

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
