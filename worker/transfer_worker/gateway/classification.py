"""From an answer to what is known after it, by the list in `rules`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from transfer_tasks.outcome import Reason
from transfer_worker.delivery.ports import PlatformAnswer
from transfer_worker.errors import NotCarriedOut
from transfer_worker.gateway.retry_after import parse_retry_after
from transfer_worker.gateway.rules import find_rule

if TYPE_CHECKING:
    from transfer_worker.errors import OutcomeUnknown, Refused
    from transfer_worker.gateway.rules import ReceivedAnswer

MAX_KEPT_ANSWER_CHARS: Final = 8 * 1024
"""How much of an answer is kept in the record; a longer one is kept as the beginning of its text."""

_SAFE_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def read_answer(answer: ReceivedAnswer, failure: Exception | None = None) -> PlatformAnswer:
    """Return the acceptance that `answer` is.

    Args:
        answer: What came back.
        failure: What the SDK made of it, as the cause of what is raised.

    Raises:
        NotCarriedOut: The platform did not act on the request, and may be asked again.
        Refused: The platform will not act on the request.
        OutcomeUnknown: The platform may have acted on the request.
    """
    value = answer.parse()
    rule, kept = find_rule(answer, value), _keep(answer.body, value)
    if rule.known is None:
        return PlatformAnswer(http_status=answer.status, body=kept)
    detail = answer.doubt or rule.detail
    if rule.reason is Reason.TRANSFER_IN_PROGRESS and (running := _find_request_id(value)):
        detail = f"running at the platform: request_id {running}"
    error: NotCarriedOut | Refused | OutcomeUnknown = rule.known(
        reason=rule.reason, http_status=answer.status, answer=kept, detail=detail
    )
    if isinstance(error, NotCarriedOut):
        headers = answer.headers
        error.retry_after_seconds = parse_retry_after(headers.get("Retry-After"), headers.get("Date"))
    raise error from failure


def _find_request_id(value: object) -> str:
    request_id = value.get("request_id") if isinstance(value, dict) else None
    return str(request_id) if request_id and _SAFE_REQUEST_ID.fullmatch(str(request_id)) else ""


def _keep(body: bytes | None, value: object) -> object:
    """Return what is kept of an answer: the value, else the text, cut where it is too long."""
    if body is None:
        return None
    if value is not None and len(body) <= MAX_KEPT_ANSWER_CHARS and _can_be_written(value):
        return value
    return body.decode("utf-8", "replace")[:MAX_KEPT_ANSWER_CHARS]


def _can_be_written(value: object) -> bool:
    """Return whether the record can hold the value: Python reads JSON that it can't write again."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True
