"""What has to become of each message of a producer that only has Celery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.plain_celery import WAYS
from transfer_tasks.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Ask, Line, Post
    from transfer_tasks.ledger.record import TransferRecord

REFUSALS: Final = frozenset(
    {
        Reason.INVALID_INTENT,
        Reason.DEADLINE_UNKNOWN,
        Reason.ETA_NOT_SUPPORTED,
        Reason.CANVAS_NOT_SUPPORTED,
        Reason.CANCELLED_BY_OPERATOR,
    }
)
"""What a worker says of the message itself."""


def find_plain_faults(
    ask: Ask, record: TransferRecord, lines: list[Line], posts: list[Post]
) -> Iterator[str]:
    """Yield what is wrong with the end of one message, as sentences without their subject.

    Args:
        ask: How it was sent, and when.
        record: The record under its task id.
        lines: The audit lines of that record.
        posts: What reached the platform for the call that it names.
    """
    way = WAYS[ask.about]
    if record.call_id != ask.call_id:
        # The same task id with other content: a conflict, whichever of the two came first.
        if posts:
            yield f"has another's record, and yet a POST for {ask.call_id}"
        return
    if not any(line.event == "finished" for line in lines):
        yield "has no audit line of its end"
    if way.must is not None and record.reason != way.must:
        yield f"sent as `{ask.about}` ended {record.state} ({record.reason}), not {way.must}"
    elif way.must is None and record.reason in REFUSALS - way.may:
        yield f"sent as `{ask.about}` was refused: {record.reason}"
    if way.must is not None and posts:
        yield f"sent as `{ask.about}` was refused, and yet a POST was made"
