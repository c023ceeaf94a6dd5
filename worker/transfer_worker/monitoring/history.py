"""The last hour in slices of ten seconds: when what is seen now began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_worker.monitoring.counts import Counts

SLICE_MS: Final = 10_000
MINUTE_SLICES: Final = 60_000 // SLICE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was counted in each slice, the newest first.

    Attributes:
        newest: The number of the newest slice: the time in tens of seconds since the epoch.
    """

    newest: int
    slices: tuple[Counts, ...]


def find_beginning(history: History, judge: Callable[[Counts], tuple[int, int]], *, threshold: float) -> int:
    """Return when the trouble of now began, in milliseconds since the epoch, to ten seconds.

    It goes back to the last minute in which something happened and went well; silence ends no trouble.

    Args:
        history: Where to look; what is older than all of it is not seen.
        judge: How much happened in a slice, and how much of that was trouble.
        threshold: The share of trouble up to which a minute went well.
    """
    seen = [judge(counts) for counts in history.slices]
    began = 0
    for at, (_, trouble) in enumerate(seen):
        if trouble:
            began = at
        minute = seen[at + 1 : at + 1 + MINUTE_SLICES]
        happened, went_wrong = (sum(column) for column in zip(*minute, strict=True)) if minute else (0, 0)
        if happened and went_wrong <= threshold * happened:
            break
    return (history.newest - began) * SLICE_MS
