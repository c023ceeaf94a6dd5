"""Looking at a record until it says what somebody waits for: when woken, and now and then."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, TypeVar

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.publisher.turns import take_turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from transfer_tasks.ledger.async_ledger import AsyncLedger
    from transfer_tasks.ledger.script import Command
    from transfer_tasks.publisher.replies import ReplyListener

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often a waiting handle looks at the record, in case a wake-up was missed."""

REST_SECONDS: Final = 0.05
"""How long a handle rests that was woken for nothing: many forged wake-ups are not as many looks."""

LEAST_LOOK_SECONDS: Final = 0.1
"""What a look at the record gets when the caller's patience is over, or was none."""


class Wait:
    """How long a wait goes on, and what it last saw.

    Attributes:
        give_up_at: When patience is over, by the monotonic clock.
        next_look_seconds: When to look again without being woken; set anew before each look.
        state: Where the transfer stood, in words.
        was_read: Whether the record could be read at all.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._started = time.monotonic()
        self.give_up_at = self._started + patience_seconds
        self.next_look_seconds = LOOK_SECONDS
        self.state, self.was_read = "unread", False

    @property
    def left_seconds(self) -> float:
        """What is left of the patience."""
        return self.give_up_at - time.monotonic()

    @property
    def waited_seconds(self) -> float:
        """How long it has gone on."""
        return time.monotonic() - self._started

    def look_at_deadline(self, remaining_ms: int) -> None:
        """Look right after the deadline: if no worker is there to say so, we end the transfer ourselves."""
        if remaining_ms > 0:
            self.next_look_seconds = min(LOOK_SECONDS, remaining_ms / 1000 + 0.005)


async def look_on(
    ledger: AsyncLedger,
    replies: ReplyListener,
    transfer_id: str,
    look: Command[T],
    *,
    wait: Wait,
    budget_seconds: float,
) -> AsyncGenerator[T]:
    """Yield what the record says, whenever it may have changed, until the wait is over.

    Args:
        ledger: Where the record is.
        replies: What is heard of it.
        transfer_id: Whose record.
        look: The step that reads it.
        wait: Goes on as long as it says.
        budget_seconds: The longest that one look may take.
    """
    async with replies.expect(transfer_id) as woken:
        await replies.ready(within_seconds=min(LOOK_SECONDS, wait.left_seconds))
        while True:
            await take_turn()  # many are woken together
            wait.next_look_seconds = LOOK_SECONDS
            is_woken = woken.is_set()
            woken.clear()  # before the look: who wakes us after it may have seen more
            time_left = max(wait.left_seconds, LEAST_LOOK_SECONDS)
            try:
                seen = await ledger.run(look, budget_seconds=min(budget_seconds, time_left))
            except LedgerUnavailable:
                wait.state = "unreadable (Redis does not answer)"
            else:
                wait.was_read = True
                yield seen
            left = wait.left_seconds
            if left <= 0:
                return
            if is_woken:
                await asyncio.sleep(REST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait.next_look_seconds, left)):
                    await woken.wait()
