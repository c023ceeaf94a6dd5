"""How a worker's slots are spread over processes: the rule, the shares, and the CPUs that count."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_worker.runtime.process_split import count_cpus, count_processes, share_slots, spread_slots
from transfer_worker.settings import WorkerSettings


@pytest.mark.parametrize(
    ("slots", "cpus", "shares"),
    [
        (1, 2, [1]),
        (8, 2, [8]),
        (16, 2, [16]),
        (17, 1, [17]),
        (17, 2, [9, 8]),
        (32, 1, [32]),
        (32, 2, [16, 16]),
        (32, 64, [16, 16]),
        (33, 64, [11, 11, 11]),
        (35, 64, [12, 12, 11]),
        (256, 2, [128, 128]),
        (256, 64, [16] * 16),
    ],
)
def test_there_is_one_process_for_every_16_places_begun_and_no_more_than_cpus(slots, cpus, shares):
    assert share_slots(slots, processes=count_processes(slots, cpus=cpus)) == shares


@given(slots=st.integers(1, 256), processes=st.integers(1, 64))
def test_shares_are_even_and_their_sum_is_what_was_asked(slots, processes):
    shares = share_slots(slots, processes=processes)
    assert (len(shares), sum(shares)) == (processes, slots)
    assert max(shares) - min(shares) <= 1


def test_only_the_cpus_that_this_process_may_use_count():
    allowed = os.sched_getaffinity(0)
    assert count_cpus() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert count_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(("processes", "shares"), [(1, [32]), (3, [11, 11, 10]), (32, [1] * 32)])
def test_the_settings_say_how_many_processes_if_they_say_anything(processes, shares):
    assert spread_slots(_settings(concurrency=32, processes=processes)) == shares


def test_without_a_word_in_the_settings_the_rule_holds():
    assert spread_slots(_settings(concurrency=8)) == [8]
    assert len(spread_slots(_settings(concurrency=64))) == min(4, count_cpus())


def _settings(**fields: int) -> WorkerSettings:
    return WorkerSettings(PIOPIY_TOKEN="a-token", _env_file=None, **fields)
