"""Calls that may have been moved twice: those that nobody has acknowledged, and which one is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.monitoring.double_posts import DoublePost
from transfer_worker.operations.lookup import refuse_id, spell_beginning

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.errors import OperationRefused


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
    """Return the call that is not acknowledged and is meant: by its id, or by a transfer's.

    The records of its transfers may be gone by now.

    Raises:
        OperationRefused: There is none.
        LedgerUnavailable: Redis did not answer in time.
    """
    left = read_double_posts(ledger)
    beginning = spell_beginning(wanted_id)
    meant = {
        double.call_id
        for double in left
        if any(known.startswith(beginning) for known in (double.call_id, *double.transfers))
    }
    if len(meant) > 1:
        raise refuse_id(f"{beginning} may be any of {', '.join(sorted(meant))}", "Write more of the one.")
    for call_id in meant:
        return call_id
    raise refuse(beginning, left)


def refuse(wanted_id: str, left: tuple[DoublePost, ...]) -> OperationRefused:
    """Return what is told where there is nothing to acknowledge."""
    calls = ", ".join(dict.fromkeys(double.call_id for double in left))
    return refuse_id(
        f"nothing of {wanted_id} is to be acknowledged", f"What is: {calls}." if calls else "No call is."
    )
