"""When to try again, and how long to wait. The only module that imports tenacity.

Only `NotCarriedOut` is ever tried again. The wait is exponential with full jitter (a random part of
0.2, 0.4, 0.8 … s, at most 2 s), so that workers which failed together don't come back together; a
`Retry-After` that is longer than that is obeyed. A wait that would reach the deadline is not begun.
"""

from __future__ import annotations

import random as random_module
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from transfer_worker.errors import NotCarriedOut

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how patiently.

    Attributes:
        max_attempts: How many attempts there may be, the first one included.
        first_wait_seconds: The longest that the first wait can be; each later bound is twice the last.
        max_wait_seconds: The bound that no wait of our own exceeds.
    """

    max_attempts: int = 5
    first_wait_seconds: float = 0.2
    max_wait_seconds: float = 2.0

    def wait_seconds(self, attempt: int, error: NotCarriedOut, random: random_module.Random) -> float:
        """Return how long to wait after the `attempt`-th attempt (from 1) failed with `error`."""
        bound = min(self.max_wait_seconds, self.first_wait_seconds * 2 ** min(attempt - 1, 32))
        return max(random.uniform(0.0, bound), error.retry_after_seconds or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryWait:
    """One wait, about to begin.

    Attributes:
        attempt: The number of the attempt that failed, from 1.
        wait_seconds: How long the wait will be.
        error: Why the attempt failed.
    """

    attempt: int
    wait_seconds: float
    error: NotCarriedOut


_RANDOM: Final = random_module.Random()  # noqa: S311 - jitter, not a secret


def run_attempts(
    attempt: Callable[[int], T],
    *,
    policy: RetryPolicy,
    remaining_seconds: Callable[[], float],
    before_wait: Callable[[RetryWait], None],
    sleep: Callable[[float], None] = time.sleep,
    random: random_module.Random = _RANDOM,
) -> T:
    """Run `attempt` until it returns, or until trying again is pointless.

    Args:
        attempt: Called with the attempt's number, from 1. The first one is always made: whether there is
            time for it is the caller's to know.
        policy: How often, and how patiently.
        remaining_seconds: The time left until the deadline. No attempt but the first begins after it.
        before_wait: Called before each wait; what it raises ends everything and reaches the caller.
        sleep: Does the waiting.
        random: Where the jitter comes from.

    Returns:
        What `attempt` returned.

    Raises:
        NotCarriedOut: The last one, unchanged, when the attempts or the time are used up. Everything else
            that `attempt` raises ends the attempts at once.
    """
    # Most transfers need one attempt, and tenacity 9.2 takes as long to get going as a request does to be
    # written: it begins with the failure of the first.
    try:
        return attempt(1)
    except NotCarriedOut as error:
        last_error = error

    def try_once() -> T:
        nonlocal last_error
        number = retrying.statistics["attempt_number"]
        # A sleep can take longer than asked (a paused process), so the time is looked at again after it.
        if number == 1 or remaining_seconds() <= 0:
            raise last_error
        try:
            return attempt(number)
        except NotCarriedOut as error:
            last_error = error
            raise

    def wait_seconds(state: RetryCallState) -> float:
        return policy.wait_seconds(state.attempt_number, _error_of(state), random)

    def is_pointless(state: RetryCallState) -> bool:
        return state.attempt_number >= policy.max_attempts or state.upcoming_sleep >= remaining_seconds()

    def announce(state: RetryCallState) -> None:
        before_wait(
            RetryWait(attempt=state.attempt_number, wait_seconds=state.upcoming_sleep, error=_error_of(state))
        )

    retrying = Retrying(
        retry=retry_if_exception_type(NotCarriedOut),
        wait=wait_seconds,
        stop=is_pointless,
        before_sleep=announce,
        sleep=sleep,
        reraise=True,
    )
    return retrying(try_once)


def _error_of(state: RetryCallState) -> NotCarriedOut:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, NotCarriedOut):  # pragma: no cover - the retry condition above excludes it
        raise TypeError(f"only NotCarriedOut is tried again, not {type(error).__name__}")
    return error
