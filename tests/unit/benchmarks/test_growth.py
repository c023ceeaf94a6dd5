"""Whether anything grows while everything runs: slopes that outliers don't move, and verdicts."""

from __future__ import annotations

import random

import pytest
from benchmarks.figures.growth import (
    GROWS,
    LEVEL,
    TOO_SHORT,
    WITH_ITS_KEYS,
    WITH_OTHERS,
    Measure,
    judge_all,
    judge_growth,
    judge_memory,
    name_growing,
    rises_steadily,
    slope_of,
)
from benchmarks.stage.leftovers import Weight, grown_by, kind_of

MEASURE = Measure("what", "figure", share=0.1)


def make_slices(figures: list[float], *, key: str = "figure") -> list[dict]:
    """Slices of ten seconds, 500 transfers each."""
    return [
        {"at_s": 10.0 * number, "ended": 500 * number, key: figure}
        for number, figure in enumerate(figures, start=1)
    ]


def waver(count: int, *, rise: float = 0.0, seed: int = 7) -> list[float]:
    """Figures around 10 that waver by a fifth, and rise by so much over the whole."""
    chance = random.Random(seed)
    return [10 + rise * number / (count - 1) + chance.uniform(-1, 1) for number in range(count)]


def test_the_slope_is_that_of_the_line():
    assert slope_of([(x, 3.0 + 0.5 * x) for x in (0.0, 1.0, 2.0, 5.0)]) == 0.5


def test_a_quarter_of_outliers_does_not_move_the_slope():
    points = [(float(x), 2.0 * x) for x in range(20)]
    for at in (3, 7, 12, 17):
        points[at] = (float(at), 1000.0)
    assert slope_of(points) == pytest.approx(2.0, rel=0.1)


def test_without_two_points_there_is_no_slope():
    assert slope_of([(1.0, 5.0)]) == 0.0
    assert slope_of([(1.0, 5.0), (1.0, 6.0)]) == 0.0


def test_what_rises_steadily_is_told_from_what_wavers():
    assert rises_steadily([float(number) for number in range(10)])
    assert not rises_steadily([float(-number) for number in range(10)])
    assert not rises_steadily([5.0] * 40)
    assert sum(rises_steadily(waver(40, seed=seed)) for seed in range(100)) <= 3


def test_a_figure_that_wavers_is_level():
    assert judge_growth(MEASURE, make_slices(waver(60))).verdict == LEVEL


def test_a_figure_that_may_not_rise_at_all_may_waver():
    judged = [
        judge_growth(Measure("what", "figure"), make_slices(waver(60, seed=seed))) for seed in range(100)
    ]
    assert [growth.verdict for growth in judged].count(GROWS) <= 3


def test_a_figure_that_rises_grows_and_its_slope_is_told():
    growth = judge_growth(MEASURE, make_slices(waver(60, rise=5)))
    assert growth.verdict == GROWS
    assert growth.per_minute == pytest.approx(0.5, rel=0.3)  # 5 in ten minutes
    assert growth.last - growth.first == pytest.approx(3.3, rel=0.3)


def test_a_figure_that_falls_does_not_grow():
    assert judge_growth(MEASURE, make_slices(waver(60, rise=-5))).verdict == LEVEL


def test_a_rise_below_what_is_allowed_is_level_by_share_and_by_number():
    slightly = make_slices([100 + 0.1 * number for number in range(60)])
    assert judge_growth(MEASURE, slightly).verdict == LEVEL
    assert judge_growth(Measure("what", "figure", absolute=50), slightly).verdict == LEVEL
    assert judge_growth(Measure("what", "figure"), slightly).verdict == GROWS


def test_one_more_of_what_may_not_grow_at_all_is_a_growth():
    leak = make_slices([7.0] * 20 + [8.0] * 20 + [9.0] * 20)
    assert judge_growth(Measure("keys without a TTL", "figure"), leak).verdict == GROWS


def test_what_rises_at_the_beginning_only_is_level():
    filling = make_slices([float(min(number, 19)) for number in range(60)])
    assert judge_growth(Measure("what", "figure"), filling).verdict == LEVEL


def test_what_is_remembered_up_to_a_limit_is_judged_once_that_is_reached():
    filling = make_slices([float(min(number, 40)) for number in range(60)])
    assert judge_growth(MEASURE, filling).verdict == GROWS
    assert judge_growth(Measure("what", "figure", share=0.1, after=20_500), filling).verdict == LEVEL


def test_a_few_slices_say_nothing():
    growth = judge_growth(MEASURE, make_slices([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert (growth.verdict, growth.per_minute) == (TOO_SHORT, None)
    assert (growth.first, growth.last) == (1.5, 24.0)


def judge_beside(others: list[float], *, is_wall_time: bool) -> str:
    measure = Measure("what", "figure", share=0.1, is_wall_time=is_wall_time)
    slices = [
        {**each, "others": used} for each, used in zip(make_slices(waver(60, rise=5)), others, strict=True)
    ]
    return judge_all((measure,), slices, others=Measure("", "others", absolute=0.1))["figure"].verdict


def test_times_that_rise_while_others_use_more_of_the_machine_say_nothing_of_us():
    busier = [0.01 * number for number in range(60)]
    assert judge_beside(busier, is_wall_time=True) == WITH_OTHERS
    assert judge_beside(busier, is_wall_time=False) == GROWS
    assert judge_beside([0.5] * 60, is_wall_time=True) == GROWS


def make_memory(bytes_per_transfer: float, *, outbox: float = 0.0) -> list[dict]:
    return [
        {
            "at_s": 10.0 * number,
            "ended": 500 * number,
            "used_bytes": 5e6 + 500 * number * (bytes_per_transfer + outbox),
            "outbox_bytes": 500 * number * outbox,
        }
        for number in range(1, 41)
    ]


LEFT = {
    "transfer:record:*": {"keys": 1.0, "bytes": 2000.0},
    "transfer:call:*": {"keys": 1.0, "bytes": 150.0},
    "transfer:audit": {"keys": 0.0, "bytes": 700.0},
    "transfer:statistics": {"keys": 0.0, "bytes": 0.5},
}


def test_memory_that_grows_with_its_keys_is_as_it_should_be_whatever_the_outbox_holds():
    memory = judge_memory(make_memory(2200, outbox=700), LEFT, outbox="transfer:audit")
    assert memory["verdict"] == WITH_ITS_KEYS
    assert memory["bytes_per_transfer"] == pytest.approx(2200)
    assert memory["keys_bytes_per_transfer"] == 2150.5
    assert "transfer:audit" not in memory["kinds"]


def test_memory_that_grows_beyond_its_keys_grows():
    assert judge_memory(make_memory(2600), LEFT, outbox="transfer:audit")["verdict"] == GROWS


def test_a_key_that_has_always_the_same_name_and_grows_with_each_transfer_never_ends():
    left = LEFT | {"transfer:heap": {"keys": 0.0, "bytes": 60.0}}
    memory = judge_memory(make_memory(2200), left, outbox="transfer:audit")
    assert (memory["verdict"], memory["endless"]) == (GROWS, ["transfer:heap"])


def test_memory_of_a_few_slices_says_nothing():
    assert judge_memory(make_memory(9000)[:5], LEFT, outbox="transfer:audit")["verdict"] == TOO_SHORT


def test_what_grows_is_named_and_a_short_run_does_not_say_that_nothing_does():
    assert name_growing({"a": LEVEL, "b": WITH_ITS_KEYS}) == []
    assert name_growing({"a": LEVEL, "b": TOO_SHORT}) is None
    assert name_growing({"a": LEVEL, "b": WITH_OTHERS}) is None
    assert name_growing({"a": GROWS, "b": TOO_SHORT}) == ["a"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"transfer:record:8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60", "transfer:record:*"),
        (b"transfer:ended:submitted:495123", "transfer:ended:submitted:*"),
        (b"transfer:double_posts", "transfer:double_posts"),
        (b"_kombu.binding.celeryev", "_kombu.binding.celeryev"),
        (b"transfer:worker:transfer-1@host", "transfer:worker:*"),
        (b"transfer:r:\x8f\xff\x00", "transfer:r:*"),
    ],
)
def test_a_kind_is_a_name_without_ids_numbers_and_digests(name, kind):
    assert kind_of(name) == kind


def test_what_came_with_each_transfer_is_by_kind():
    before = {"record": Weight(10, 1000), "same": Weight(1, 50), "gone": Weight(1, 9)}
    after = {"record": Weight(30, 3400), "same": Weight(1, 50), "new": Weight(20, 100)}
    assert grown_by(before, after, 20) == {
        "record": {"keys": 1.0, "bytes": 120.0},
        "new": {"keys": 1.0, "bytes": 5.0},
    }
