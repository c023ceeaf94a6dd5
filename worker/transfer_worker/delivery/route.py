"""What an intent says, read from its text by the worker itself, and how it is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.verdicts import Reading
from transfer_tasks.outcome import Reason
from transfer_worker.errors import NotPermitted

if TYPE_CHECKING:
    from transfer_tasks.signature import Key, Written
    from transfer_worker.delivery.ports import Policy


@dataclass(frozen=True, slots=True)
class Route:
    """What an intent says, and the pipeline that carries it out."""

    reading: Reading
    pipeline: list[dict[str, Any]]


def read_intent(written: Written, policy: Policy, *, transfer_id: str) -> tuple[TransferIntent, Key | None]:
    """Read an intent: who asks, and whether it is this transfer's.

    Raises:
        InvalidIntent: It is none.
        NotPermitted: Nobody with a key asks for it, or it is another's.
    """
    key = policy.identify(written)
    intent = TransferIntent.from_elsewhere(written.text)
    if intent.transfer_id != transfer_id:
        raise NotPermitted(
            reason=Reason.INVALID_INTENT,
            detail="the intent is another transfer's",
        )
    return intent, key


def read_route(written: Written, policy: Policy, *, transfer_id: str) -> Route:
    """Read an intent: who asks, whether it is this transfer's, and whether the rules allow it.

    Raises:
        InvalidIntent: It is none.
        NotPermitted: Nobody with a key asks for it, or the rules forbid it.
    """
    intent, key = read_intent(written, policy, transfer_id=transfer_id)
    reading = Reading(
        intent_json=written.text,
        call_id=intent.call_id,
        labels=intent.labels(),
        signer=key.id if key else "",
        signed_ms=round(intent.expires_at.timestamp() * 1000) if key else None,
    )
    return Route(reading, policy.route(intent, key=key))
