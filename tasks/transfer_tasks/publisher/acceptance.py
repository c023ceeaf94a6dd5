"""From an intent to the ledger's `accept` step: the same for every way in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic_core import to_json

from transfer_tasks.masking import mask_text
from transfer_tasks.publisher.message import build_message, describe
from transfer_tasks.signature import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.commands import LedgerCommands
    from transfer_tasks.ledger.script import Command
    from transfer_tasks.ledger.verdicts import Accepted
    from transfer_tasks.signature import Key


def build_accept(
    commands: LedgerCommands,
    intent: TransferIntent,
    *,
    queue: str,
    is_queued: bool = False,
    repeat_window_seconds: float = 0.0,
    reply_to: str = "",
    idempotency_key: str | None = None,
    remaining_ms: int | None = None,
    tolerance_ms: int = 0,
    asked: Mapping[str, str] | None = None,
    after: str = "",
    signing_key: Key | None = None,
    written: Written | None = None,
) -> Command[Accepted]:
    """Return the step that accepts an intent.

    Args:
        commands: The ledger's commands.
        intent: What is asked; its deadline is a point in time by Redis's clock, see `with_deadline`.
        queue: The Celery queue.
        is_queued: Whether a message has brought the intent: no other is sent.
        repeat_window_seconds: How long after `submitted` the same request is a repeat.
        reply_to: The channel on which an ending wakes whoever waits.
        idempotency_key: Instead of the intent's own.
        remaining_ms: Until the deadline; None where only the point in time is known.
        tolerance_ms: What may be wrong in our idea of Redis's clock.
        asked: What the audit line says of who asks and why, besides the intent's own words.
        after: For a replay: the call's last transfer, which must still be the last.
        signing_key: Signs what is asked, its deadline included.
        written: The intent as its producer wrote and signed it: kept as it is, and not written anew.
    """
    labels = intent.labels()
    if written is None:
        text = intent.to_json()
        written = signing_key.sign(text) if signing_key else Written(text)
    key = (intent.idempotency_key or "") if idempotency_key is None else idempotency_key
    reason = mask_text(intent.reason)
    # Whoever writes to Redis can name any key: the word of one that has verified it is in the claim's line.
    told = {"signed_as": mask_text(written.key_id[:64])} if written.signature else {}
    if asked is None:
        asked_json = to_json(
            {"requested_by": mask_text(intent.requested_by), "asked": reason, **told}
        ).decode()
    else:
        # An operator's words may hold what only the standard library writes: lone surrogates.
        asked_json = json.dumps(
            {name: mask_text(said) for name, said in {**asked, "asked": reason, **told}.items()}
        )
    message = ""
    if not is_queued:
        message = build_message(
            transfer_id=intent.transfer_id,
            call_id=intent.call_id,
            labels=describe(intent),
            queue=queue,
            written=written,
        )
    return commands.accept(
        transfer_id=intent.transfer_id,
        call_id=intent.call_id,
        idempotency_key=key,
        destination_digest=intent.destination_digest(),
        content_digest=intent.content_digest(),
        intent_json=written.text,
        signature=written.signature,
        labels_json=to_json(labels).decode(),
        message=message,
        queue="" if is_queued else queue,
        remaining_ms=remaining_ms,
        repeat_window_ms=round(repeat_window_seconds * 1000),
        reply_to=reply_to,
        asked_json=asked_json,
        after=after,
        latest_ms=round(intent.expires_at.timestamp() * 1000) + tolerance_ms,
    )


def with_deadline(intent: TransferIntent, deadline_ms: int) -> TransferIntent:
    """Return the intent with its deadline as a point in time, by Redis's clock."""
    return intent.model_copy(update={"expires_at": datetime.fromtimestamp(deadline_ms / 1000, UTC)})
