"""From an intent to the ledger's `accept` step: the same for every way in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic_core import to_json

from transfer_tasks.message import build_message
from transfer_tasks.numbers import mask_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.commands import Command, LedgerCommands
    from transfer_tasks.ledger.verdicts import Accepted


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
    asked: Mapping[str, str] | None = None,
    after: str = "",
) -> Command[Accepted]:
    """Return the step that accepts an intent.

    Args:
        commands: The ledger's commands.
        intent: What is asked.
        queue: The Celery queue.
        is_queued: Whether a message is on its way already; ours is then only kept, for recovery.
        repeat_window_seconds: How long after `submitted` the same request is a repeat.
        reply_to: The channel that hears the outcome.
        idempotency_key: Instead of the intent's own.
        remaining_ms: Until the deadline, instead of by this process's clock.
        asked: What the audit line says of who asks and why, besides the intent's own words; masked.
        after: For a replay: the call's last transfer, which must still be the last.
    """
    labels, written = intent.labels(), intent.written()
    said = {"requested_by": intent.requested_by} if asked is None else asked
    return commands.accept(
        transfer_id=intent.transfer_id,
        call_id=intent.call_id,
        idempotency_key=(intent.idempotency_key or "") if idempotency_key is None else idempotency_key,
        destination_digest=written.destination_digest,
        content_digest=written.content_digest,
        intent_json=written.json,
        labels_json=to_json(labels).decode(),
        message=build_message(
            transfer_id=intent.transfer_id,
            call_id=intent.call_id,
            labels=labels,
            queue=queue,
            intent_json=written.json,
        ),
        queue="" if is_queued else queue,
        remaining_ms=intent.remaining_ms(datetime.now(UTC)) if remaining_ms is None else remaining_ms,
        repeat_window_ms=round(repeat_window_seconds * 1000),
        reply_to=reply_to,
        asked_json=json.dumps({**said, "asked": mask_text(intent.reason)}),
        after=after,
        latest_ms=round(intent.expires_at.timestamp() * 1000),
    )
