"""From what Celery hands to a task, or the door has read, to what the transfer service is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transfer_tasks.publisher.message import INTENT_HEADER, SIGNATURE_HEADER
from transfer_tasks.signature import Written
from transfer_worker.delivery.message import Notification, Request
from transfer_worker.queue.element import FACTS_HEADER
from transfer_worker.queue.request import REVOKED

if TYPE_CHECKING:
    from transfer_worker.queue.element import PlainFacts


def read_message(headers: Any) -> Notification | Request:
    """Return what a message asks for, by its headers as Celery sees them (`Element.as_seen_by_celery`)."""
    transfer_id, is_revoked = headers.get("id"), bool(headers.get(REVOKED))
    plain: PlainFacts | None = headers.get(FACTS_HEADER)
    if plain is None:
        copy, signature = headers.get(INTENT_HEADER), headers.get(SIGNATURE_HEADER)
        return Notification(
            transfer_id=transfer_id,
            copy=Written(
                copy if isinstance(copy, str) else "", signature if isinstance(signature, str) else ""
            ),
            is_revoked=is_revoked,
        )
    return Request(
        transfer_id=transfer_id,
        asked=plain.arguments[0] if plain.arguments else plain.named.get("intent"),
        signature=plain.named.get("signature"),
        expires=plain.expires,
        eta=plain.eta,
        canvas=plain.canvas,
        is_moved=plain.is_moved,
        after=plain.after,
        empty_ms=plain.empty_ms,
        is_revoked=is_revoked,
    )


def read_reported(headers: Any) -> tuple[object, object]:
    """Return the report that a message brings, and its signature, as `read_message` does a request."""
    plain: PlainFacts | None = headers.get(FACTS_HEADER)
    if plain is None:  # the door lets none through
        return None, None
    return plain.arguments[0] if plain.arguments else plain.named.get("report"), plain.named.get("signature")
