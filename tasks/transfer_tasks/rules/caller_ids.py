"""Which numbers a new leg may show. Asked by the worker alone: a publisher does not know PIOPIY_NUMBER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_tasks.addresses import mask_number, parse_number
from transfer_tasks.intent.actions import Connect
from transfer_tasks.intent.destination import PipelineDestination
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.objection import Objection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from transfer_tasks.intent import TransferIntent


def parse_caller_ids(text: str) -> frozenset[str]:
    """Read ``+1 202-555-0143, +44 20 7946 0018``.

    Raises:
        ValueError: An item is no number; it is not shown.
    """
    return frozenset(parse_number(item.strip()) for item in text.split(",") if item.strip())


def find_strange_caller_id(intent: TransferIntent, known: Collection[str]) -> Objection | None:
    """Return an objection to the first number that the intent wants shown and that is not known."""
    for path, number in _caller_ids_of(intent):
        if number not in known:
            return Objection(
                reason=Reason.CALLER_ID_NOT_ALLOWED,
                field=path,
                value=mask_number(number),
                problem="is a caller id that is not allowed",
                fix="Leave it out for PIOPIY_NUMBER, or allow it with TRANSFER_CALLER_IDS.",
            )
    return None


def _caller_ids_of(intent: TransferIntent) -> Iterator[tuple[str, str]]:
    if intent.caller_id is not None:
        yield "caller_id", intent.caller_id
    if isinstance(intent.destination, PipelineDestination):
        for position, action in enumerate(intent.destination.pipeline):
            if isinstance(action, Connect) and action.params.caller_id is not None:
                yield f"destination.pipeline[{position}].params.caller_id", action.params.caller_id
