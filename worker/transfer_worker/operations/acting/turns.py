"""One transfer after the other, no faster than asked for: what became of each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from transfer_tasks.errors import InvalidIntent
from transfer_worker.errors import OperationRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from transfer_tasks.ledger.record import TransferRecord


class Turn(NamedTuple):
    """What became of one transfer.

    Attributes:
        record: The transfer, as it was when it was chosen.
        told: How it stands now, in a few words; or why nothing was done.
        new_id: The transfer that was asked for in its place, where it was a replay.
    """

    record: TransferRecord
    is_done: bool
    told: str
    new_id: str = ""


def take_turns(
    records: Iterable[TransferRecord],
    act: Callable[[TransferRecord], Turn],
    *,
    per_second: float,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Turn]:
    """Act on one record after the other; one that is refused holds up none of the others.

    Args:
        records: What is acted on.
        act: What is done to each.
        per_second: The most in a second.
        now: A clock that only goes forward, in seconds.
        sleep: Waits so many seconds.

    Raises:
        LedgerUnavailable: Redis did not answer in time. What follows is not tried.
    """
    next_at = now()
    for record in records:
        if (ahead := next_at - now()) > 0:
            sleep(ahead)
        next_at = max(next_at, now()) + 1 / per_second
        try:
            yield act(record)
        except (OperationRefused, InvalidIntent) as refused:
            yield Turn(record, is_done=False, told=str(refused))
