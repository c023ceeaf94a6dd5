"""Redis's clock, as a process knows it: the one clock of all deadlines, whatever the machine's own says.

It is the process's monotonic clock and an offset, learned from a reading of Redis's::

    asked ─────────▶ Redis reads its clock ─────────▶ answered
      |<------------------ round trip ------------------>|

The reading is taken for the middle, and is wrong by half a round trip at most. So the shortest one counts.
"""

from __future__ import annotations

import logging
import time
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 60.0
"""How long a reading is better than a new one with a longer round trip: clocks drift."""
READING_SECONDS: Final = 0.002
"""What two right readings may differ by besides: they are in milliseconds."""
WORTH_TELLING_SECONDS: Final = 5.0


class RedisClock:
    """One Redis's clock. A thread may read it while another notes.

    Args:
        monotonic: This process's clock, in seconds.
        wall: The machine's idea of the time, in seconds; only compared, never used.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.monotonic = monotonic
        self._wall = wall
        self._offset: float | None = None
        self._round_trip, self._noted_at = inf, -inf
        self._has_told = False

    @property
    def is_known(self) -> bool:
        """Whether a reading has been noted."""
        return self._offset is not None

    def now_ms(self) -> int:
        """Return Redis's time, in milliseconds since the epoch.

        Raises:
            LookupError: Nothing is known of it yet.
        """
        if self._offset is None:
            raise LookupError("Redis's clock has not been read yet")
        return round((self.monotonic() + self._offset) * 1000)

    @property
    def uncertainty_ms(self) -> int:
        """What `now_ms` may be wrong by."""
        return round((self._round_trip / 2 + READING_SECONDS) * 1000)

    def begin_anew(self) -> None:
        """Take the next reading, whatever its round trip: a new connection may lead to another server."""
        self._noted_at = -inf

    def note(self, redis_ms: float, *, asked_at: float, answered_at: float) -> None:
        """Learn from a reading.

        Args:
            redis_ms: What Redis read, in milliseconds since the epoch.
            asked_at: Before it was asked, by `monotonic`.
            answered_at: When it had answered.
        """
        round_trip = answered_at - asked_at
        offset = redis_ms / 1000 - (asked_at + answered_at) / 2
        known = self._offset
        if known is not None:
            difference = abs(offset - known)
            is_contradiction = difference > (round_trip + self._round_trip) / 2 + READING_SECONDS
            if (
                round_trip > self._round_trip
                and answered_at - self._noted_at < KEPT_SECONDS
                and not is_contradiction
            ):
                return
            if is_contradiction and difference > WORTH_TELLING_SECONDS:
                log.warning(
                    "Redis's clock has jumped by %.1f s: it was set, or another server answers",
                    offset - known,
                )
        self._offset, self._round_trip, self._noted_at = offset, round_trip, answered_at
        self._compare()

    def note_time(self, told: Sequence[int | str], *, asked_at: float) -> None:
        """Learn from the reply to TIME, which has come just now; `asked_at` as for `note`.

        Raises:
            ValueError, TypeError, LookupError: It is no such reply.
        """
        answered_at = self.monotonic()
        self.note(int(told[0]) * 1000 + int(told[1]) / 1000, asked_at=asked_at, answered_at=answered_at)

    def _compare(self) -> None:
        ahead = self._wall() * 1000 - self.now_ms()
        if abs(ahead) > WORTH_TELLING_SECONDS * 1000 and not self._has_told:
            self._has_told = True
            log.warning(
                "This machine's clock is %.1f s %s Redis's. Deadlines are by Redis's; times in logs differ",
                abs(ahead) / 1000,
                "ahead of" if ahead > 0 else "behind",
            )
