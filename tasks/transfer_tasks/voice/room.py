"""What the platform says of transfers in a call's room: read, and told to the ledger until it has heard it.

``{"type": "transfer_status", "status": "started" | "failed" | "completed", "request_id": …, "call_id": …,
"reason"?: …}``, on the topic `TOPIC`, "for every transfer on the call, whoever started it" (piopiy-agent
1.2.1, pipecat-piopiy 0.2.4, livekit-piopiy 0.1.2). Nothing is said twice, so none is given up at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from transfer_tasks.connection import (
    ConnectionStatus,
    ReportSource,
    is_request_id,
    read_call_id,
    read_platform_words,
)
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.texts import read_object

if TYPE_CHECKING:
    from transfer_tasks.connection import ConnectionReport
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
    named, own = read_call_id(fields.get("call_id")), read_call_id(call_id)
    if words is None or words.status is ConnectionStatus.QUEUED or (named and own and named != own):
        return None
    request_id = fields.get("request_id")
    known = own or named
    if not known:
        return None
    return words.report(
        call_id=known,
        request_id=str(request_id) if is_request_id(request_id) else "",
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
        message = read_object(message) or {"type": "none"}
    if isinstance(message, Mapping):
        return message
    return {name: getattr(message, name, None) for name in ("status", "reason", "request_id", "call_id")}
