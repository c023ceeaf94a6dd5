"""Waiting for something to become true, with a deadline instead of a lucky sleep."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
"""How long anything may take before a test gives it up: it tells a hang, and judges no speed."""

_POLL_SECONDS = 0.01


def wait_until(
    condition: Callable[[], T],
    deadline_seconds: float = DEADLINE_SECONDS,
    *,
    message: str | Callable[[], str] = "",
) -> T:
    """Return the first truthy value of `condition`, asked every 10 ms.

    Args:
        condition: What must become true.
        deadline_seconds: How long it may take.
        message: What to say if it does not; a callable is asked at that moment.

    Raises:
        AssertionError: The deadline passed.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            said = message() if callable(message) else message
            raise AssertionError(f"not within {deadline_seconds:g} s: {said or condition}")
        time.sleep(_POLL_SECONDS)


async def wait_until_async(condition: Callable[[], T]) -> T:
    """`wait_until` for tests whose own event loop has to bring it about."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (value := condition()):  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(_POLL_SECONDS)
    return value
