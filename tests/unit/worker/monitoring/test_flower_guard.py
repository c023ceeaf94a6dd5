"""Guessing Flower's login is slow: whoever was wrong is judged once a second, whatever comes next."""

from __future__ import annotations

import asyncio

import pytest

from transfer_worker.monitoring.flower_guard import BETWEEN_GUESSES_SECONDS, REMEMBERED_SECONDS, Brake
from transfer_worker.settings import find_login_problem


class Clock:
    """Time passes only in sleep, and is written down."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def brake(clock):
    return Brake(clock, clock.sleep)


async def test_nobody_waits_who_was_never_wrong(brake, clock):
    brake.note_wrong("10.0.0.1")
    await brake.wait("10.0.0.2")
    assert clock.slept == 0


async def test_many_guesses_at_once_are_judged_one_after_the_other(brake, clock):
    brake.note_wrong("10.0.0.1")
    await asyncio.gather(*(brake.wait("10.0.0.1") for _ in range(20)))
    assert clock.slept == 20 * BETWEEN_GUESSES_SECONDS


async def test_a_minute_after_the_last_wrong_one_all_is_forgotten(brake, clock):
    brake.note_wrong("10.0.0.1")
    clock.now += REMEMBERED_SECONDS
    await brake.wait("10.0.0.1")
    assert clock.slept == 0
    for number in range(1000):
        brake.note_wrong(f"10.1.{number // 250}.{number % 250}")
        clock.now += 1
    assert len(brake._wrong_at) <= REMEMBERED_SECONDS + 1


@pytest.mark.parametrize(
    ("login", "problem"),
    [
        ("on-call:correct-horse", ""),
        ("on-call:twelve-chars", ""),
        ("on-call:elevenchars", "12 characters or more"),
        ("on-call", "user:password"),
        (":correct-horse-battery", "user:password"),
        ("on-call:correct,horse-battery", "without a comma"),
        ("on-call:pässwort-pässwort", "ASCII"),
    ],
)
def test_what_is_wrong_with_a_login(login, problem):
    said = find_login_problem(login)
    assert (problem in said) if problem else said == ""
