"""The time that is left: of this part at its pace so far, of the others by what is known."""

from __future__ import annotations

import pytest
from benchmarks.figures.progress import ROUGH_SECONDS, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_left_is_this_part_at_its_pace_and_the_parts_to_come(clock):
    progress = Progress(["latency", "counts"], known_seconds={"counts": 90}, keep=lambda: None, clock=clock)
    progress.begin("latency")
    clock.now += 20
    assert progress.left_seconds(0.25) == 60 + 90
    progress.end()
    progress.begin("counts")
    clock.now += 10
    assert progress.left_seconds(0.5) == 10


def test_a_part_that_nobody_knows_is_guessed_by_its_usual_time_and_share(clock):
    progress = Progress(
        ["stages", "backlog", "new"], known_seconds={}, keep=lambda: None, share=0.5, clock=clock
    )
    progress.begin("stages")
    assert progress.left_seconds(1.0) == ROUGH_SECONDS["backlog"] / 2 + 60


def test_what_a_part_took_is_noted_and_kept(clock):
    kept = []
    progress = Progress(["stages"], known_seconds={}, keep=lambda: kept.append(1), clock=clock)
    progress.begin("stages")
    clock.now += 12.34
    progress.end()
    assert progress.took_seconds == {"stages": 12.3}
    assert kept


def test_a_part_that_failed_took_no_time_and_is_not_waited_for(clock):
    progress = Progress(["stages", "counts"], known_seconds={}, keep=lambda: None, clock=clock)
    progress.begin("stages")
    progress.drop()
    progress.begin("counts")
    assert progress.took_seconds == {}
    assert progress.left_seconds(1.0) == 0


def test_each_line_says_what_is_done_and_how_long_it_will_take_and_keeps_it(clock, capsys):
    kept = []
    progress = Progress(
        ["stages", "counts"], known_seconds={"counts": 300}, keep=lambda: kept.append(1), clock=clock
    )
    progress.begin("stages")
    clock.now += 60
    progress.tell("round 1 of 2", 0.5)
    assert capsys.readouterr().out.endswith(" round 1 of 2; about 6 min left\n")
    assert kept == [1]
