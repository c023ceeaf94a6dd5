"""The Celery message that says: look at this transfer. Written without Celery.

Protocol 2's headers and body are Celery's documented ones; the envelope around them (`properties`,
`body_encoding`) is kombu's own and pinned by a golden test against kombu 5.7.0. What would be null, or stand
there twice, is left out: Redis holds each message in memory, and writes it to its disk.
"""

from __future__ import annotations

import json
import os
import re
import socket
from functools import cache
from typing import TYPE_CHECKING, Final

from pydantic_core import to_json

from transfer_tasks.masking import mask_text
from transfer_tasks.signature import NOTHING_WRITTEN, Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.intent import TransferIntent

TASK_NAME: Final = "transfer_tasks.transfer_call"
REPORT_TASK_NAME: Final = "transfer_tasks.report_connection"

EMPTY_BODY: Final = "W1tdLHt9LHt9XQ=="
"""base64 of [[],{},{}]: no arguments, and nothing that a canvas would name.

The message carries no content of its own, only the transfer's id as the task id; that is in the ledger.
"""

INTENT_HEADER: Final = "intent"
"""A copy of the intent, so that a worker can ask its rules before it claims. What counts is on record."""

SIGNATURE_HEADER: Final = "signature"
"""The signature of that copy: see `Written`. Absent where nothing is signed."""


MOST_OF_A_REASON: Final = 100
"""So many characters of a request's reason are shown in Flower; the record has all of it."""


def describe(intent: TransferIntent) -> dict[str, str]:
    """Return what Flower shows of a request, masked: who asks, why, and where to."""
    who = {
        "requested_by": mask_text(intent.requested_by),
        "reason": mask_text(intent.reason)[:MOST_OF_A_REASON],
    }
    # The destination last: it stands behind whatever somebody has written into the other two.
    return {name: said for name, said in who.items() if said} | intent.labels()


def build_message(
    *,
    transfer_id: str,
    call_id: str,
    labels: Mapping[str, str],
    queue: str,
    written: Written = NOTHING_WRITTEN,
) -> str:
    """Return the list element that a Celery 5.7 worker consumes from `queue`.

    Args:
        transfer_id: Becomes the task id and the delivery tag.
        call_id: Shown in Flower.
        labels: Masked description of the request, shown in Flower.
        queue: The queue's name, which is also its routing key.
        written: What `INTENT_HEADER` and `SIGNATURE_HEADER` carry.
    """
    shown = repr({"call_id": call_id, **labels})
    return _template(queue, os.getpid(), is_signed=bool(written.signature)) % {
        "id": to_json(transfer_id).decode(),
        "shown": to_json(shown).decode(),
        "intent": to_json(written.text).decode(),
        "signature": to_json(written.signature).decode(),
    }


def write_notification(queue: str) -> str:
    """Return the message that recovery sends, with places for what the record says: see recover.lua.

    Nothing of it is shown; the worker that gets it reads the copy of the intent for that.
    """
    return _shape(queue, os.getpid(), shown="", is_signed=True)


@cache
def _template(queue: str, process_id: int, *, is_signed: bool) -> str:
    """Return the message with places for what differs from transfer to transfer, for the operator `%`."""
    shape = _shape(queue, process_id, shown="\0shown", is_signed=is_signed)
    return re.sub(r'"\\u0000(\w+)"', r"%(\1)s", shape.replace("%", "%%"))


def _shape(queue: str, process_id: int, *, shown: str, is_signed: bool) -> str:
    transfer_id, intent = "\0id", "\0intent"
    message = {
        "body": EMPTY_BODY,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "task": TASK_NAME,
            "id": transfer_id,
            "argsrepr": "()",
            "kwargsrepr": shown,
            "origin": f"{process_id}@{socket.gethostname()}",
            "ignore_result": True,
            INTENT_HEADER: intent,
            **({SIGNATURE_HEADER: "\0signature"} if is_signed else {}),
        },
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
            # Equal to the transfer's id, so that recovery can tell whether a worker has fetched the message.
            "delivery_tag": transfer_id,
        },
    }
    return json.dumps(message, separators=(",", ":"))
