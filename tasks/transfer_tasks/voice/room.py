"""What the platform says of transfers in a call's room: read, and told to the ledger until it has heard it.

``{"type": "transfer_status", "status": "started" | "failed" | "completed", "request_id": …, "call_id": …,
"reason"?: …}``, on the topic `TOPIC`, "for every transfer on the call, whoever started it" (piopiy-agent
1.2.1, pipecat-piopiy 0.2.4, livekit-piopiy 0.1.2). Nothing is said twice, so none is given up at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from uuid import UUID

from transfer_tasks.connection import (
    ConnectionReport,
    ConnectionStatus,
    ReportSource,
    is_request_id,
    read_platform_words,
)
from transfer_tasks.errors import LedgerUnavailable

if TYPE_CHECKING:
    from transfer_tasks.voice.ports import Publisher

log = logging.getLogger(__name__)

TOPIC: Final = "transfer_status"
TRIES: Final = 30
PAUSE_SECONDS: Final = 1.0
"""Between two tries while Redis is away; with `TRIES`, half a minute."""


def read_platform_status(message: object, *, call_id: str | None) -> ConnectionReport | None:
    """Return what a room message says of a transfer of this call; None for any other message.

    Args:
        message: As it came (bytes, text), a mapping, or a framework's object with the same fields.
        call_id: The session's call; None where the framework knows none, then the message's own counts.
    """
    fields = _read_fields(message)
    kind = fields.get("type", TOPIC)
    words = read_platform_words(fields.get("status"), fields.get("reason")) if kind == TOPIC else None
    named, own = _as_uuid(fields.get("call_id")), _as_uuid(call_id)
    if words is None or words.status is ConnectionStatus.QUEUED or (named and own and named != own):
        return None
    request_id = fields.get("request_id")
    known = own or named
    if known is None:
        return None
    return ConnectionReport(
        call_id=str(known),
        request_id=str(request_id) if is_request_id(request_id) else "",
        status=words.status,
        reason=words.reason,
        caller_gone=words.caller_gone,
        source=ReportSource.ROOM,
    )


async def tell(publisher: Publisher, report: ConnectionReport) -> None:
    """Put a report on record, however often it takes; give up after half a minute, with a line in the log."""
    for _ in range(TRIES):
        try:
            await publisher.report_connection(report)
        except LedgerUnavailable as error:
            cause = error.cause
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return
    log.warning("What the platform said of a transfer is lost (%s): %s", report.status, cause)


def _read_fields(message: object) -> Mapping[str, object]:
    if isinstance(message, bytes | bytearray | str):
        try:
            message = json.loads(message)
        except (ValueError, RecursionError):
            return {"type": "none"}
        if not isinstance(message, dict):
            return {"type": "none"}
    if isinstance(message, Mapping):
        return message
    return {name: getattr(message, name, None) for name in ("status", "reason", "request_id", "call_id")}


def _as_uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
