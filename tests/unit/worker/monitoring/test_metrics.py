"""What Prometheus is told: the ledger's counts under names and with zeros that its queries can rely on."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from support import urlopen_directly
from support.ledger_bench import LedgerBench, move_twice
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.redis.connection import connect
from transfer_tasks.registry.limits import LIMIT_KINDS
from transfer_worker.monitoring.counts import BUCKETS_MS
from transfer_worker.monitoring.metrics import LedgerCollector, MetricsServer
from transfer_worker.operations.lookup import read_clock_ms


@pytest.fixture
def bench(redis_url):
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)


@pytest.fixture
def scrape(bench):
    """Return a function that gives every sample by name and labels, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(bench.ledger))

    def read():
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(generate_latest(registry).decode())
            for sample in family.samples
        }

    return read


def outcome(state, reason):
    return ("transfer_outcomes_total", ("reason", reason), ("state", state))


def finish(bench, state=State.SUBMITTED, reason=Reason.ACCEPTED_BY_PLATFORM, *, retries=0):
    claim = bench.claim(bench.accept().transfer_id)
    for attempt in range(1, retries + 1):
        bench.begin(claim, attempt=attempt)
        bench.retry(claim)
    bench.begin(claim, attempt=retries + 1)
    bench.end(claim, state, reason)
    return claim


def test_outcomes_are_told_by_state_reason_and_destination(bench, scrape):
    finish(bench)
    finish(bench, State.REJECTED, Reason.CALL_NOT_FOUND)

    samples = scrape()

    assert samples[outcome("submitted", "accepted_by_platform")] == 1
    assert samples[outcome("rejected", "call_not_found")] == 1
    labels = (("destination", "support"), ("reason", "call_not_found"), ("state", "rejected"))
    assert samples["transfer_destination_outcomes_total", *labels] == 1
    assert samples["transfer_accepted_total",] == 2


def test_every_ending_there_is_has_a_zero_to_rise_from(bench, scrape):
    samples = scrape()

    told = {key: value for key, value in samples.items() if key[0] == "transfer_outcomes_total"}
    first_endings = set(GUIDE) - {Reason.NOT_TRANSFERRED}
    assert told == {outcome(GUIDE[reason].state, reason): 0 for reason in first_endings}
    assert samples["transfer_double_posts_total",] == 0


def test_a_double_post_is_counted_and_ceases_to_be_to_look_at_when_it_is_acknowledged(bench, scrape):
    first, _ = move_twice(bench)
    samples = scrape()
    assert samples["transfer_double_posts_total",] == 1
    assert samples["transfer_double_posts_unacknowledged",] == 1
    commands = OperatorCommands(namespace="transfer", retention_seconds=1000)
    bench.run(commands.acknowledge(bench.record(first).call_id, operator="ana", reason="r"))
    samples = scrape()
    assert samples["transfer_double_posts_total",] == 1
    assert samples["transfer_double_posts_unacknowledged",] == 0


def test_a_limit_that_is_reached_is_counted_by_its_kind(bench, scrape):
    bench.limit(call="1/60")
    for destination in ("support", "sales", "billing"):
        bench.cancel(bench.accept(call_id="call-1", destination=destination).transfer_id)
    samples = scrape()
    reached = {kind: samples["transfer_limits_reached_total", ("limit", kind)] for kind in LIMIT_KINDS}
    assert reached == {"call": 2, "destination": 0, "requester": 0, "all": 0}
    assert samples[outcome("rejected", "limit_reached")] == 2


def test_no_counter_is_born_with_its_first_event(bench, scrape):
    """`increase()` would not see it; only counters by destination may be, and no alert looks at those."""
    born = set(scrape())
    call_id = bench.record(finish(bench, retries=1).transfer_id).call_id
    bench.accept(call_id=call_id)
    bench.accept(call_id=call_id, destination="billing", repeat_window_ms=0)
    bench.accept(call_id=call_id)
    lost = bench.claim(bench.accept().transfer_id)
    bench.begin(lost)
    taken_over = bench.claim(bench.accept().transfer_id)
    bench.begin(taken_over)
    bench.retry(taken_over)
    bench.bury()
    bench.recover()
    bench.resolve(lost.transfer_id, transferred=True)
    bench.limit(all="1/60")
    for _ in range(2):
        bench.accept()

    later = {key for key in set(scrape()) - born if key[0] != "transfer_destination_outcomes_total"}
    assert later == set()


def test_attempts_repeats_takeovers_and_resolutions_are_counted(bench, scrape):
    finish(bench, retries=1)
    claim = bench.claim(bench.accept().transfer_id)
    bench.begin(claim)
    bench.bury()
    bench.recover()
    bench.resolve(claim.transfer_id, transferred=False)

    samples = scrape()

    assert samples["transfer_attempts_total", ("class", "platform_unavailable")] == 1
    assert samples["transfer_attempts_total", ("class", "accepted_by_platform")] == 1
    assert samples["transfer_given_up_total", ("reason", "worker_died")] == 1
    assert samples["transfer_resolved_total", ("reason", "not_transferred"), ("state", "failed")] == 1


def test_histograms_are_cumulative_and_in_seconds(bench, scrape):
    for waited_ms in (1, 100_000, 400_000):
        claim = bench.claim(bench.accept(remaining_ms=900_000).transfer_id)
        bench.client.hincrby(bench.keys.record(claim.transfer_id), "accepted_ms", -waited_ms)
        bench.begin(claim)
        bench.end(claim)

    samples = scrape()
    buckets = {
        float(dict(key[1:])["le"]): value
        for key, value in samples.items()
        if key[0] == "transfer_submit_to_post_seconds_bucket"
    }

    assert sorted(buckets)[:-1] == [bound / 1000 for bound in BUCKETS_MS]
    assert list(buckets.values()) == sorted(buckets.values())
    assert (buckets[70], buckets[300], buckets[float("inf")]) == (1, 2, 3)
    assert samples["transfer_submit_to_post_seconds_count",] == 3
    assert samples["transfer_submit_to_post_seconds_sum",] == pytest.approx(500.001, abs=60)


def test_requests_per_transfer_are_told(bench, scrape):
    finish(bench)
    finish(bench, retries=3)
    bench.cancel(bench.accept().transfer_id)

    samples = scrape()

    assert samples["transfer_posts_per_transfer_bucket", ("le", "0.0")] == 1
    assert samples["transfer_posts_per_transfer_bucket", ("le", "1.0")] == 2
    assert samples["transfer_posts_per_transfer_bucket", ("le", "5.0")] == 3
    assert samples["transfer_posts_per_transfer_sum",] == 5


def test_ages_are_told_by_the_clock_of_redis(bench, scrape):
    waiting = bench.accept()
    bench.client.zincrby(bench.keys.open_ids, -4000, waiting.transfer_id)
    bench.heartbeat("w1")
    bench.client.hincrby(bench.keys.statistics, "last_heartbeat_ms", -9000)

    samples = scrape()

    assert 4 <= samples["transfer_oldest_waiting_seconds",] < 5
    assert 9 <= samples["transfer_heartbeat_age_seconds",] < 10
    assert samples["transfer_workers",] == 1
    assert samples["transfer_oldest_unknown_seconds",] == 0


def test_where_there_was_never_a_worker_its_silence_is_infinite(scrape):
    assert scrape()["transfer_heartbeat_age_seconds",] == float("inf")


def test_without_redis_it_says_so_and_nothing_else():
    with connect("redis://127.0.0.1:1/0", timeout_seconds=0.2) as client:
        ledger = Ledger(client, namespace="transfer", retention_seconds=60)
        assert [
            (sample.name, sample.value)
            for family in LedgerCollector(ledger).collect()
            for sample in family.samples
        ] == [("transfer_ledger_up", 0)]


def test_names_follow_the_conventions(bench, scrape):
    finish(bench)
    for name, *_ in scrape():
        assert re.fullmatch(r"transfer_[a-z_]+", name)
        assert "_ms" not in name


def test_it_is_served_over_http_and_a_scrape_is_three_round_trips(bench):
    bench.heartbeat()
    finish(bench)
    with MetricsServer(bench.ledger, port=0) as server:
        bench.client.config_resetstat()
        with urlopen_directly(server.url, timeout=5) as answer:
            text = answer.read().decode()
        stats = bench.client.info("commandstats")
    assert "transfer_waiting 0.0" in text
    # What was counted is read by a step: the hash, what is not added to it yet, and its clock.
    assert sum(entry["calls"] for name, entry in stats.items() if name != "cmdstat_config|resetstat") <= 24


def test_connections_are_told_once_each_and_reports_by_what_became_of_them(bench, scrape):
    transfer_id = finish(bench).transfer_id
    call_id = bench.record(transfer_id).call_id
    born = set(scrape())
    for status, reason in (("ringing", ""), ("not_connected", "busy"), ("connected", "")):
        bench.report(status, call_id, "r-1", reason=reason)
    bench.report("connected", call_id, "r-of-others", source="webhook")

    samples = scrape()

    told = {
        key[1:]: value for key, value in samples.items() if key[0] == "transfer_connections_total" and value
    }
    assert told == {(("reason", "busy"), ("status", "not_connected")): 1}
    labels = (("destination", "support"), ("status", "not_connected"))
    assert samples["transfer_destination_connections_total", *labels] == 1
    reports = {
        (key[1][1], key[2][1]): value
        for key, value in samples.items()
        if key[0] == "transfer_reports_total" and value
    }
    assert reports == {("room", "matched"): 2, ("room", "contradiction"): 1, ("webhook", "unmatched"): 1}
    new = {key[0] for key in set(samples) - born}
    assert new == {"transfer_destination_connections_total", "transfer_source_silent_requests"}


def test_a_source_that_has_spoken_is_silent_for_so_many_requests_and_one_never_heard_has_no_figure(
    bench, scrape
):
    call_id = bench.record(finish(bench).transfer_id).call_id
    bench.report("connected", call_id, source="webhook")
    bench.report("connected", call_id, source="operator")
    for _ in range(3):
        finish(bench)
    silent = {
        key[1][1]: value for key, value in scrape().items() if key[0] == "transfer_source_silent_requests"
    }
    assert silent == {"webhook": 3}


def test_unknowns_are_recent_from_one_minute_to_ten(bench, scrape):
    for _ in range(4):
        finish(bench, State.UNKNOWN, Reason.ANSWER_LOST)
    now_ms = read_clock_ms(bench.ledger)
    names = bench.client.zrange(bench.keys.unknown, 0, -1)
    for name, age_seconds in zip(names, (5, 70, 590, 700), strict=True):
        bench.client.zadd(bench.keys.unknown, {name: now_ms - age_seconds * 1000})

    said = scrape()

    assert said["transfer_unknown_recent",] == 2
    assert 700 <= said["transfer_oldest_unknown_seconds",] < 800


@pytest.mark.parametrize("text", ["{}", "junk", '{"at_ms": "x"}'])
def test_a_pause_has_an_age_and_one_that_is_damaged_is_old(bench, scrape, text):
    minute_ago = json.dumps({"at_ms": read_clock_ms(bench.ledger) - 60_000})
    bench.client.hset(bench.keys.paused, mapping={"support": minute_ago, "*": text})

    said = scrape()

    assert 60 <= said["transfer_pause_seconds", ("destination", "support")] < 120
    assert said["transfer_pause_seconds", ("destination", "*")] > 1e9


def test_a_worker_says_what_it_is_and_how_often_it_was_restarted(bench, scrape):
    usual = {"host": "h", "version": "1", "registry": "r", "restarts": 3, "up_seconds": 9}

    def beat(worker, **about):
        beat = bench.commands.heartbeat(
            worker=worker, lease_ms=60_000, about_json=json.dumps(usual | about), queue=bench.queue
        )
        bench.run(beat)

    beat("w1", settings={"A": "1", "B": "2"})
    beat("w2", settings={"B": "2", "A": "1"})
    beat("w3", settings={"A": "2"}, restarts="no number")
    said = scrape()

    labels = [dict(labels) for name, *labels in said if name == "transfer_worker_build_info"]
    builds = {of["worker"]: of for of in labels}
    assert {(of["version"], of["registry"], of["host"]) for of in labels} == {("1", "r", "h")}
    assert builds["w1"]["settings"] == builds["w2"]["settings"] != builds["w3"]["settings"]
    assert said["transfer_worker_restarts", ("worker", "w1")] == 3
    assert said["transfer_worker_up_seconds", ("worker", "w3")] == 9
    assert ("transfer_worker_restarts", ("worker", "w3")) not in said


def test_redis_says_what_it_uses_and_may_use(bench, scrape):
    bench.client.config_set("maxmemory", 512 * 2**20)
    try:
        said = scrape()
    finally:
        bench.client.config_set("maxmemory", 0)
    assert said["transfer_redis_memory_limit_bytes",] == 512 * 2**20
    assert 0 < said["transfer_redis_memory_bytes",] < said["transfer_redis_memory_limit_bytes",]
    assert scrape()["transfer_redis_memory_limit_bytes",] > 512 * 2**20, "the machine's"
