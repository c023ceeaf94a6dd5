"""What an answer of the platform says about the call.

===========================================  ==============================  ====================
what was seen                                what is known                   reason
===========================================  ==============================  ====================
a 2xx with a JSON object                     accepted
429                                          not carried out                 RATE_LIMITED
503                                          not carried out                 PLATFORM_UNAVAILABLE
401, 403                                     refused                         UNAUTHORIZED
404, 410                                     refused                         CALL_NOT_FOUND
409                                          refused                         TRANSFER_IN_PROGRESS
any other 4xx but 408                        refused                         REFUSED_BY_PLATFORM
a 2xx whose body was lost; 408               may have been carried out       ANSWER_LOST
any other 5xx                                may have been carried out       SERVER_ERROR
1xx, 3xx; any other 2xx                      may have been carried out       ANSWER_UNREADABLE
===========================================  ==============================  ====================

A status line that arrived counts even when its body is lost: only a 2xx needs its body to be believed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from transfer_tasks.outcome import Reason
from transfer_worker.delivery.ports import PlatformAnswer
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway.retry_after import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_KEPT_ANSWER_CHARS: Final = 8 * 1024
"""How much of an answer is kept in the record; a longer one is kept as the beginning of its text."""

_REFUSALS: Final = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.CALL_NOT_FOUND,
    410: Reason.CALL_NOT_FOUND,
    409: Reason.TRANSFER_IN_PROGRESS,
}
_NOT_CARRIED_OUT: Final = {429: Reason.RATE_LIMITED, 503: Reason.PLATFORM_UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class ReceivedAnswer:
    """What came back.

    Attributes:
        status: The status.
        headers: The headers, found whatever the case of their names.
        body: The body; None if it was lost.
        doubt: Why it may be another call's answer; empty where it can't be.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    doubt: str = ""


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
    status, value = answer.status, _parse(answer.body)
    kept = _keep(answer.body, value)
    if answer.doubt:
        raise OutcomeUnknown(
            reason=Reason.ANSWER_UNREADABLE, http_status=status, answer=kept, detail=answer.doubt
        ) from failure
    if 200 <= status < 300 and isinstance(value, dict):
        return PlatformAnswer(http_status=status, body=kept)
    raise _explain_status(answer, kept) from failure


def _explain_status(answer: ReceivedAnswer, kept: object) -> AttemptError:
    status = answer.status
    if status in _NOT_CARRIED_OUT:
        return NotCarriedOut(
            reason=_NOT_CARRIED_OUT[status],
            http_status=status,
            answer=kept,
            retry_after_seconds=parse_retry_after(
                answer.headers.get("Retry-After"), answer.headers.get("Date")
            ),
        )
    if 400 <= status < 500 and status != 408:
        return Refused(
            reason=_REFUSALS.get(status, Reason.REFUSED_BY_PLATFORM), http_status=status, answer=kept
        )
    reason, detail = Reason.ANSWER_UNREADABLE, ""
    if 500 <= status < 600:
        reason = Reason.SERVER_ERROR
    elif status == 408:
        # A 408 is a proxy's word about a request that may have passed it.
        reason = Reason.ANSWER_LOST
    elif 200 <= status < 300 and answer.body is None:
        reason, detail = Reason.ANSWER_LOST, "The connection was lost within the answer."
    elif 200 <= status < 300:
        detail = "The answer is empty." if not answer.body else "The answer is no JSON object."
    elif 300 <= status < 400:
        detail = "The answer is a redirect; it was not followed."
    return OutcomeUnknown(reason=reason, http_status=status, answer=kept, detail=detail)


def _parse(body: bytes | None) -> object:
    """Return the JSON value of `body`; None when it has none."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


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
