"""Redis's clock as a process knows it: the shortest round trip counts, and a jump is told."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.redis.clock import KEPT_SECONDS, RedisClock


class Times:
    """This process's clock, and the machine's time of day beside it."""

    def __init__(self, *, wall: float = 1_800_000_000.0) -> None:
        self.now, self.started_at = 100.0, wall - 100.0

    def clock(self) -> RedisClock:
        return RedisClock(monotonic=lambda: self.now, wall=lambda: self.started_at + self.now)

    def read(self, clock: RedisClock, redis_at: float, *, there: float, back: float) -> None:
        """Read a clock that is `redis_at` seconds ahead of ours."""
        asked_at = self.now
        reading = (asked_at + there + redis_at) * 1000
        self.now += there + back
        clock.note(reading, asked_at=asked_at, answered_at=self.now)


def test_before_the_first_reading_nothing_is_known():
    clock = RedisClock()
    assert not clock.is_known
    with pytest.raises(LookupError):
        clock.now_ms()


@given(
    ahead=st.floats(1e9, 2e9),
    trips=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=20),
)
def test_it_is_never_wrong_by_more_than_it_says(ahead, trips):
    times = Times()
    clock = times.clock()
    for there, back in trips:
        times.read(clock, ahead, there=there, back=back)
        assert abs(clock.now_ms() - (times.now + ahead) * 1000) <= clock.uncertainty_ms + 1


def test_the_shortest_round_trip_counts_until_it_is_old():
    times = Times()
    clock = times.clock()
    times.read(clock, 1.8e9, there=0.01, back=0.01)
    best = clock.uncertainty_ms
    times.read(clock, 1.8e9, there=0.5, back=0.1)
    assert clock.uncertainty_ms == best
    times.now += KEPT_SECONDS
    times.read(clock, 1.8e9, there=0.1, back=0.1)
    assert clock.uncertainty_ms > best


def test_a_new_connection_counts_whatever_was_known():
    times = Times()
    clock = times.clock()
    times.read(clock, 1.8e9, there=0, back=0)
    clock.begin_anew()
    times.read(clock, 1.8e9 + 0.3, there=0.5, back=0.5)
    assert abs(clock.now_ms() - (times.now + 1.8e9 + 0.3) * 1000) <= 1


@pytest.mark.parametrize("jump", [-3600, -6, 6, 3600])
def test_a_jump_is_followed_at_once_and_told(jump, caplog):
    times = Times()
    clock = times.clock()
    times.read(clock, 1.8e9, there=0.001, back=0.001)
    with caplog.at_level(logging.WARNING):
        times.read(clock, 1.8e9 + jump, there=0.1, back=0.1)
    assert abs(clock.now_ms() - (times.now + 1.8e9 + jump) * 1000) <= 1
    assert f"{jump:.1f} s" in caplog.text


@pytest.mark.parametrize(("wall", "said"), [(-3600, "3600.0 s behind"), (3600, "3600.0 s ahead of"), (1, "")])
def test_a_machine_whose_time_of_day_differs_is_told_once(wall, said, caplog):
    times = Times()
    times.started_at += wall
    clock = times.clock()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            times.read(clock, 1_800_000_000 - 100, there=0.001, back=0.001)
    assert [said in record.getMessage() for record in caplog.records] == [True] * bool(said)
