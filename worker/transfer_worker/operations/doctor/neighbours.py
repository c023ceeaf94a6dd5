"""Who else uses our Redis database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.errors import LedgerUnavailable
from transfer_worker.operations.neighbours import find_left_behind, find_neighbours
from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger


def check_neighbours(ledger: Ledger, queue: str) -> Finding:
    """Look at who else uses this Redis database, and what of ours lies among theirs."""
    try:
        left_behind, others = find_left_behind(ledger), find_neighbours(ledger, queue=queue)
    except LedgerUnavailable as error:  # a user who may touch nothing but our keys, say
        return Finding.not_checked("neighbours", seen=error.cause)
    if left_behind:
        return Finding.warning(
            "neighbours",
            seen=f"{len(left_behind)} messages of ours lie in `unacked`, kombu's default name",
            fix="Stop workers of older versions, then: call-transfer quarantine adopt",
        )
    seen = f"other Celery applications use this database: {', '.join(others[:8])}" if others else "none here"
    return Finding.ok("neighbours", seen=seen)
