"""Calls that may have been moved twice: those that nobody has acknowledged, and which one is meant."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.masking import mask_text
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.errors import OperationRefused
from transfer_worker.monitoring.double_posts import DoublePost

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger


def read_double_posts(ledger: Ledger) -> tuple[DoublePost, ...]:
    """Return what nobody has acknowledged, the newest first.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        entries = cast("list[str]", ledger.client.lrange(ledger.keys.double_posts, 0, -1))
    except redis.RedisError as error:
        raise LedgerUnavailable(f"double posts: {diagnose(error)}") from error
    return tuple(double for entry in entries if (double := DoublePost.of(entry)))


def find_call(ledger: Ledger, wanted_id: str) -> str:
    """Return the call that is not acknowledged and is meant by its id, or by that of one of its transfers.

    The records of its transfers may be gone by now.

    Raises:
        OperationRefused: There is none.
        LedgerUnavailable: Redis did not answer in time.
    """
    left = read_double_posts(ledger)
    try:
        wanted_id = str(uuid.UUID(wanted_id))
    except ValueError:
        raise refuse(wanted_id, left) from None
    for double in left:
        if wanted_id in {double.call_id, *double.transfers}:
            return double.call_id
    raise refuse(wanted_id, left)


def refuse(wanted_id: str, left: tuple[DoublePost, ...]) -> OperationRefused:
    """Return what is told where there is nothing to acknowledge."""
    calls = ", ".join(dict.fromkeys(double.call_id for double in left))
    return OperationRefused(
        field="CALL_OR_TRANSFER_ID",
        problem=f"nothing of {mask_text(wanted_id)} is to be acknowledged",
        fix=f"What is: {calls}." if calls else "No call is.",
    )
