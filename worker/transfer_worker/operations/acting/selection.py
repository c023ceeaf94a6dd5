"""Which transfers an operator means who names none: what `list` would show, as far as it can be acted on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from transfer_tasks.outcome import State
from transfer_worker.errors import OperationMisused
from transfer_worker.operations.listing import Wanted, iterate_transfers

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.record import TransferRecord

ACTED_ON: Final[dict[str, frozenset[State]]] = {
    "resolve": frozenset({State.UNKNOWN}),
    "cancel": frozenset({State.WAITING, State.CLAIMED}),
    # What is unknown may have moved its call: it is settled first, each by its own evidence.
    "replay": frozenset({State.REJECTED, State.FAILED, State.EXPIRED, State.CANCELLED}),
}
"""The states that each command acts on where it is given no id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is acted on.

    Attributes:
        records: The transfers, as `list` has them.
        left_out: What was looked at and can't be acted on: how many, by why.
        is_cut: Whether there are more.
    """

    records: list[TransferRecord]
    left_out: Counter[str]
    is_cut: bool


def select_transfers(
    ledger: Ledger,
    wanted: Wanted,
    *,
    command: str,
    limit: int,
    find_obstacle: Callable[[TransferRecord], str] = lambda _: "",
) -> Selection:
    """Find the transfers that a command is to act on.

    Args:
        ledger: Where to look.
        wanted: What the operator has asked for; all states that fit the command if it names none.
        command: A key of `ACTED_ON`.
        limit: The most that are acted on.
        find_obstacle: Says in a few words why one can't be acted on; empty where it can.

    Raises:
        OperationMisused: A state is named that the command never acts on.
        LedgerUnavailable: Redis did not answer in time.
    """
    fitting = ACTED_ON[command]
    if strange := sorted(wanted.states - fitting):
        raise OperationMisused(
            field="--state",
            problem=f"{command} never acts on {', '.join(strange)}",
            fix=f"It acts on {', '.join(sorted(fitting))}.",
        )
    chosen: dict[str, TransferRecord] = {}
    left_out: Counter[str] = Counter()
    for record in iterate_transfers(ledger, replace(wanted, states=wanted.states or fitting), page=limit):
        if record.transfer_id in chosen:
            continue  # claimed while we looked
        if obstacle := find_obstacle(record):
            left_out[obstacle] += 1
        elif len(chosen) == limit:
            return Selection(records=list(chosen.values()), left_out=left_out, is_cut=True)
        else:
            chosen[record.transfer_id] = record
    return Selection(records=list(chosen.values()), left_out=left_out, is_cut=False)
