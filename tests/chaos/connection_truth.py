"""What is on record of connections, held against what the sandbox played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transfer_tasks.connection import ConnectionStatus, ReportVerdict
from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Course, Line
    from transfer_tasks.ledger.record import TransferRecord

FINALS: Final = frozenset({"connected", "not_connected"})
ON_RECORD: Final = frozenset({ReportVerdict.MATCHED, ReportVerdict.REPEATED, ReportVerdict.CONTRADICTION})


def find_connection_faults(record: TransferRecord, lines: list[Line], course: Course) -> Iterator[str]:
    """Yield what is wrong with the second fact of one transfer.

    Args:
        record: As it is at the end.
        lines: Its audit lines.
        course: What the sandbox played, and what became of the words that were told of it.
    """
    found = record.connection if record.connection and record.connection.status.is_final else None
    finals = [line for line in lines if line.event in FINALS]
    if len(finals) != (found is not None):
        yield f"has {len(finals)} final lines, and on record {found and found.status}"
    # Without an id of its own, a record takes the first that is told of its call: it may be another's.
    is_its_own = record.request_id == course.request_id or not course.has_another
    if found is None:
        if is_its_own and course.told & ON_RECORD:
            yield f"has no verdict, though words were {', '.join(sorted(course.told))}"
        return
    if record.state is not State.SUBMITTED:
        yield f"is {record.state}, though the platform told how it went on"
    if is_its_own and (found.status is ConnectionStatus.CONNECTED) != (course.status == "completed"):
        yield f"is {found.status} by {found.source}, and {course.status or 'nothing'} at the sandbox"
    if is_its_own and ReportVerdict.CONTRADICTION in course.told and not found.contradictions:
        yield "says nothing of the words that contradict it"
