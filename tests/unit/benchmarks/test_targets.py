"""The targets: what is missed or was not measured stays in the table, and ratios are taken within a round."""

from __future__ import annotations

import pytest
from benchmarks.figures.targets import (
    NOT_MEASURED,
    at_least,
    at_most,
    headline_of,
    judge,
    middle_of,
    ratio_of,
)

OURS, FLOOR, CELERY = "call-transfer", "floor", "celery threads"


def test_a_ratio_is_taken_within_each_round_and_their_median_counts(in_rounds):
    # The medians' own ratio would be 2 / 2.
    of = {OURS: in_rounds("ms", 1.0, 2.0, 9.0), FLOOR: in_rounds("ms", 2.0, 1.0, 3.0)}
    assert ratio_of(of, "ms", OURS, FLOOR) == 2.0


def test_a_round_that_one_of_them_lacks_moves_no_other():
    of = {
        OURS: [{"round": 1, "ms": 3.0}, {"round": 2, "ms": 100.0}],
        FLOOR: [{"round": 0, "ms": 50.0}, {"round": 1, "ms": 2.0}, {"round": 3, "ms": 1.0}],
    }
    assert ratio_of(of, "ms", OURS, FLOOR) == 1.5


@pytest.mark.parametrize(
    "of",
    [
        {},
        {OURS: [{"round": 0, "ms": 1.0}]},
        {OURS: [{"round": 0, "ms": 1.0}], FLOOR: []},
        {OURS: [{"round": 0, "ms": 1.0}], FLOOR: [{"round": 0, "other": 1.0}]},
        {OURS: [{"round": 0, "ms": 1.0}], FLOOR: [{"round": 1, "ms": 1.0}]},
        {OURS: [{"round": 0, "ms": 1.0}], FLOOR: [{"round": 0, "ms": 0.0}]},
    ],
)
def test_without_a_round_in_common_there_is_no_ratio(of):
    assert ratio_of(of, "ms", OURS, FLOOR) is None


def test_rounds_of_runs_that_have_no_number_go_by_their_place():
    assert ratio_of({"full": [{"ms": 2.0}], "empty": [{"ms": 1.0}]}, "ms", "full", "empty") == 2.0


def test_a_figure_in_the_middle_is_of_the_rounds_that_have_one(in_rounds):
    assert middle_of([*in_rounds("ms", 1.0, 2.0, 9.0), {"round": 3}], "ms") == 2.0
    assert middle_of([{"round": 0}], "ms") is None


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.5, "stretch met"), (0.6, "met"), (0.8, "met"), (0.81, "missed"), (None, NOT_MEASURED)],
)
def test_at_most_says_whether_a_target_and_its_stretch_are_met(value, verdict):
    assert at_most("what", value, 0.8, 0.5)[3] == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.97, "met"), (0.96, "missed"), (None, NOT_MEASURED)])
def test_at_least_says_whether_a_target_is_met(value, verdict):
    assert at_least("what", value, 0.97)[3] == verdict


def test_every_target_stays_in_the_table_of_a_run_that_has_measured_nothing(make_run):
    rows = judge(make_run())
    assert {row[2:] for row in rows} == {("-", NOT_MEASURED)}
    assert len({row[0] for row in rows}) == len(rows) >= 19


def test_parts_that_have_just_begun_are_not_measured(make_run):
    parts = ("latency", "counts", "scripts", "throughput", "workers", "ended", "mixed")
    assert judge(make_run(**{part: {} for part in parts}))[0][3] == NOT_MEASURED
    half_done = make_run(workers={"1": [{"round": 0, "per_second": 100}]}, latency={"always": {OURS: []}})
    assert {row[3] for row in judge(half_done)} == {NOT_MEASURED}


def test_a_missed_target_stays_in_the_table_among_those_met(make_run, in_rounds):
    always = {
        OURS: [{"round": 0, "redis_cpu_ms": 3.0, "to_post_p50_ms": 1.0}],
        CELERY: [{"round": 0, "redis_cpu_ms": 1.0}],
        FLOOR: in_rounds("to_post_p50_ms", 1.0),
    }
    rows = {row[0]: row for row in judge(make_run(latency={"always": always}))}
    assert rows["Redis CPU per transfer / bare Celery"][2:] == ("3.00", "missed")
    assert rows["submit → POST p50 / floor"][2:] == ("1.00", "stretch met")


def test_two_workers_are_compared_with_one_within_each_round(make_run, in_rounds):
    workers = {"1": in_rounds("per_second", 100, 200, 300), "2": in_rounds("per_second", 200, 100, 600)}
    rows = {row[0]: row for row in judge(make_run(workers=workers))}
    assert rows["two workers / one, throughput"][2:] == ("2.00", "met")


@pytest.mark.parametrize(
    ("growing", "verdict"), [([], "met"), (["worker_mb"], "missed"), (None, NOT_MEASURED)]
)
def test_nothing_may_grow_while_everything_runs(make_run, growing, verdict):
    rows = {row[0]: row for row in judge(make_run(mixed={"growing": growing}))}
    assert rows["figures that grow while everything runs"][3] == verdict


def test_the_headline_is_as_shipped_and_of_older_runs_what_they_have(make_run):
    both = {"always": {"a": [1]}, "everysec": {"a": [2]}}
    assert headline_of(make_run(latency=both)) == {"a": [1]}
    assert headline_of(make_run(latency={"everysec": {"a": [2]}})) == {"a": [2]}
    assert headline_of(make_run()) == {}
