"""Which failures are tried again, when, and when not any more. A fake clock; nothing sleeps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from transfer_tasks.outcome import Reason
from transfer_worker.delivery.retry import RetryPolicy, RetryWait, run_attempts
from transfer_worker.errors import NotCarriedOut, OutcomeUnknown, Refused


def not_carried_out(retry_after_seconds: float | None = None) -> NotCarriedOut:
    return NotCarriedOut(
        reason=Reason.PLATFORM_UNAVAILABLE, http_status=503, retry_after_seconds=retry_after_seconds
    )


@dataclass
class Stage:
    """A clock that only moves when something sleeps, and attempts that end as listed."""

    endings: list[object]
    deadline: float = 15.0
    overshoot: float = 0.0
    now: float = 0.0
    begun_at: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    waits: list[RetryWait] = field(default_factory=list)

    def attempt(self, number: int) -> object:
        self.numbers.append(number)
        self.begun_at.append(self.now)
        ending = self.endings[min(number, len(self.endings)) - 1]
        if isinstance(ending, BaseException):
            raise ending
        return ending

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.overshoot

    def run(self, policy: RetryPolicy | None = None, seed: int = 1) -> object:
        return run_attempts(
            self.attempt,
            policy=policy or RetryPolicy(),
            remaining_seconds=lambda: self.deadline - self.now,
            before_wait=self.waits.append,
            sleep=self.sleep,
            random=random.Random(seed),
        )


def test_the_first_success_is_returned_and_nothing_waits():
    stage = Stage(["done"])
    assert stage.run() == "done"
    assert (stage.numbers, stage.waits) == ([1], [])


def test_what_was_not_carried_out_is_tried_again_with_the_next_number():
    errors = [not_carried_out(), not_carried_out()]
    stage = Stage([*errors, "done"])
    assert stage.run() == "done"
    assert stage.numbers == [1, 2, 3]
    assert [(wait.attempt, wait.error) for wait in stage.waits] == [(1, errors[0]), (2, errors[1])]


@pytest.mark.parametrize(
    "ending",
    [
        OutcomeUnknown(reason=Reason.ANSWER_LOST),
        Refused(reason=Reason.CALL_NOT_FOUND),
        RuntimeError("a mistake"),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
    ids=lambda ending: type(ending).__name__,
)
def test_anything_else_is_never_tried_again_and_comes_out_unchanged(ending):
    stage = Stage([ending])
    with pytest.raises(type(ending)) as raised:
        stage.run()
    assert raised.value is ending
    assert (stage.numbers, stage.waits) == ([1], [])


def test_an_unknown_after_a_retry_ends_it():
    stage = Stage([not_carried_out(), OutcomeUnknown(reason=Reason.ANSWER_LOST), "never"])
    with pytest.raises(OutcomeUnknown):
        stage.run()
    assert stage.numbers == [1, 2]


def test_attempts_are_capped_and_the_last_error_comes_out_unchanged():
    errors = [not_carried_out() for _ in range(9)]
    stage = Stage(list(errors))
    with pytest.raises(NotCarriedOut) as raised:
        stage.run(RetryPolicy(max_attempts=4))
    assert raised.value is errors[3]
    assert stage.numbers == [1, 2, 3, 4]
    assert len(stage.waits) == 3


@pytest.mark.parametrize("seed", range(50))
def test_waits_grow_under_a_bound_that_doubles_from_200_ms_to_2_s(seed):
    stage = Stage([not_carried_out()], deadline=1000.0)
    with pytest.raises(NotCarriedOut):
        stage.run(RetryPolicy(max_attempts=8), seed)
    bounds = [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert all(0 <= wait.wait_seconds <= bound for wait, bound in zip(stage.waits, bounds, strict=True))


def test_the_jitter_is_full_and_repeatable():
    def first_wait(seed: int) -> float:
        stage = Stage([not_carried_out(), "done"])
        stage.run(seed=seed)
        return stage.waits[0].wait_seconds

    waits = [first_wait(seed) for seed in range(400)]
    assert waits == [first_wait(seed) for seed in range(400)]
    assert min(waits) < 0.01
    assert max(waits) > 0.19


def test_retry_after_is_obeyed_when_it_fits():
    stage = Stage([not_carried_out(retry_after_seconds=3.0), "done"])
    assert stage.run() == "done"
    assert stage.begun_at == [0.0, 3.0]


def test_retry_after_never_shortens_the_wait_of_our_own():
    plain, told = Stage([not_carried_out(), "done"]), Stage([not_carried_out(0.0), "done"])
    plain.run()
    told.run()
    assert told.begun_at == plain.begun_at


@pytest.mark.parametrize("retry_after_seconds", [15.0, 15.5, 86_400.0])
def test_a_retry_after_that_reaches_the_deadline_ends_it_at_once(retry_after_seconds):
    error = not_carried_out(retry_after_seconds)
    stage = Stage([error, "never"])
    with pytest.raises(NotCarriedOut) as raised:
        stage.run()
    assert raised.value is error
    assert (stage.now, stage.numbers, stage.waits) == (0.0, [1], [])


@pytest.mark.parametrize("seed", range(50))
def test_no_attempt_begins_after_the_deadline(seed):
    stage = Stage([not_carried_out()], deadline=1.0)
    with pytest.raises(NotCarriedOut):
        stage.run(RetryPolicy(max_attempts=100), seed)
    assert all(begun_at < 1.0 for begun_at in stage.begun_at)
    assert stage.now < 1.0


def test_a_sleep_that_takes_too_long_is_not_followed_by_an_attempt():
    error = not_carried_out()
    stage = Stage([error, "never"], overshoot=60.0)
    with pytest.raises(NotCarriedOut) as raised:
        stage.run()
    assert raised.value is error
    assert stage.numbers == [1]


def test_the_first_attempt_is_made_even_without_time_left():
    stage = Stage(["done"], deadline=0.0)
    assert stage.run() == "done"


def test_what_before_wait_raises_ends_it_before_the_wait():
    class TakenAway(Exception):
        pass

    def refuse(_wait: RetryWait) -> None:
        raise TakenAway

    stage = Stage([not_carried_out(), "never"])
    with pytest.raises(TakenAway):
        run_attempts(
            stage.attempt,
            policy=RetryPolicy(),
            remaining_seconds=lambda: 10.0,
            before_wait=refuse,
            sleep=stage.sleep,
        )
    assert (stage.numbers, stage.now) == ([1], 0.0)


def test_runs_within_runs_count_for_themselves():
    inner = Stage([not_carried_out(), "inner"])

    def nested(number: int) -> object:
        return (number, inner.run())

    outer = run_attempts(
        nested,
        policy=RetryPolicy(),
        remaining_seconds=lambda: 10.0,
        before_wait=lambda _: None,
        sleep=lambda _: None,
    )
    assert outer == (1, "inner")
