"""What an answer says about the call: one list of rules, of which the first that holds decides.

An answer of a proxy is not the platform's. So each rule names its source, and only what the platform's own
published material or a standard shows is taken as proof; everything else may have been carried out.
`docs/outcomes.md` shows the list, and `tests/integration/test_outcomes.py` proves each row at a real socket.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.outcome import Reason
from transfer_worker.errors import NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway.saying_no import find_fault, says_no

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Doubt(StrEnum):
    """Why an answer may be another call's, as the record says it."""

    MORE_THAN_ONE = "More than one answer came to one request; which is its own can't be told."
    BROKEN_OFF = "The answer broke off on a connection that had carried another request."


@dataclass(frozen=True, slots=True)
class ReceivedAnswer:
    """What came back.

    Attributes:
        status: The status.
        headers: The headers, found whatever the case of their names.
        body: The body; None if it was lost.
        doubt: Why it may be another call's answer; None where it can't be.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    doubt: Doubt | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its head says how long the body is, and it arrived so; else it may be cut."""
        says_how_long = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        return self.body is not None and (says_how_long or self.status in {204, 304})

    def parse(self) -> object:
        """Return the JSON value of the body; None when it has none."""
        try:
            return json.loads(self.body) if self.body else None
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the list.

    Attributes:
        name: What tests and documents know it by.
        status: Which statuses, as the page says it.
        body: Which bodies, as the page says it.
        holds: Whether it applies to an answer and the JSON value of its body.
        known: What is known then; None for an acceptance.
        reason: The closed reason that goes with it.
        source: Why that is known.
        detail: What the record says besides.
    """

    name: str
    status: str
    body: str
    holds: Callable[[ReceivedAnswer, Any], bool]
    known: type[NotCarriedOut | Refused | OutcomeUnknown] | None
    reason: Reason
    source: str
    detail: str = ""


def _is_success(answer: ReceivedAnswer) -> bool:
    return 200 <= answer.status < 300


def _is_shaped_like_the_platforms(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("error"), str) and bool(value["error"])


RULES: Final = (
    Rule(
        name="doubtful",
        status="any",
        body="any, where more came than one answer on a connection that was used before",
        holds=lambda answer, _: answer.doubt is Doubt.MORE_THAN_ONE,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_UNREADABLE,
        source="It may be a late answer to an earlier request: by RFC 9112, 9.2, order alone tells.",
    ),
    Rule(
        name="doubtful_broken_off",
        status="any",
        body="any, where it broke off on a connection that was used before",
        holds=lambda answer, _: answer.doubt is Doubt.BROKEN_OFF,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_LOST,
        source="As above; which request it was an answer to stood in the part that is lost.",
    ),
    Rule(
        name="success_refused",
        status="2xx",
        body="an object that says no, by a `code` or `status` of 400 to 499 but 408 and 409",
        holds=lambda answer, value: _is_success(answer) and find_fault(value) not in {None, 409},
        known=Refused,
        reason=Reason.REFUSED_BY_PLATFORM,
        source="JSON APIs answer errors with 200, too. A closed list: `gateway/saying_no.py`.",
        detail="The status says yes, the answer's own code says no.",
    ),
    Rule(
        name="success_in_progress",
        status="2xx",
        body="the same, with 409",
        holds=lambda answer, value: _is_success(answer) and find_fault(value) == 409,
        known=Refused,
        reason=Reason.TRANSFER_IN_PROGRESS,
        source="As 409.",
    ),
    Rule(
        name="success_says_no",
        status="2xx",
        body='an object that says no: `success` false, an `error`, `status` "failed", other codes from 400',
        holds=lambda answer, value: _is_success(answer) and says_no(value),
        known=OutcomeUnknown,
        reason=Reason.ANSWER_UNREADABLE,
        source="Nobody has published what it means; an error after the fact looks the same.",
        detail="The status says yes, the answer says no.",
    ),
    Rule(
        name="accepted",
        status="2xx",
        body="any other object",
        holds=lambda answer, value: _is_success(answer) and isinstance(value, dict),
        known=None,
        reason=Reason.ACCEPTED_BY_PLATFORM,
        source='`{"message": "queued"}` is the one success published (piopiy 1.2.2, its README).',
    ),
    Rule(
        name="success_lost",
        status="2xx",
        body="broke off",
        holds=lambda answer, _: _is_success(answer) and answer.body is None,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_LOST,
        source="The platform took the request; what it made of it was in the part that is lost.",
        detail="The connection was lost within the answer.",
    ),
    Rule(
        name="success_empty",
        status="2xx",
        body="empty",
        holds=lambda answer, _: _is_success(answer) and not answer.body,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_UNREADABLE,
        source="The SDK takes it for a success; no published answer is empty.",
        detail="The answer is empty.",
    ),
    Rule(
        name="success_unreadable",
        status="2xx",
        body="not a JSON object",
        holds=lambda answer, _: _is_success(answer),
        known=OutcomeUnknown,
        reason=Reason.ANSWER_UNREADABLE,
        source="A login page or a proxy's page; whether the request went on behind it is not known.",
        detail="The answer is not a JSON object.",
    ),
    Rule(
        name="rate_limited",
        status="429",
        body="any",
        holds=lambda answer, _: answer.status == 429,
        known=NotCarriedOut,
        reason=Reason.RATE_LIMITED,
        source="RFC 6585, 4: too many requests, so not this one. Limits are kept before anything acts.",
    ),
    Rule(
        name="unavailable",
        status="503",
        body="an object whose `error` is text",
        holds=lambda answer, value: answer.status == 503 and _is_shaped_like_the_platforms(value),
        known=NotCarriedOut,
        reason=Reason.PLATFORM_UNAVAILABLE,
        source='The platform\'s own refusals: `{"error": …}` (piopiy-agent 1.2.1). Nothing else is proof.',
    ),
    Rule(
        name="unavailable_elsewhere",
        status="503",
        body="anything else, whatever its headers",
        holds=lambda answer, _: answer.status == 503,
        known=OutcomeUnknown,
        reason=Reason.SERVER_ERROR,
        source="Proxies answer it after the fact (Envoy's reset reasons, Heroku's H12), and retry, too. "
        'They write JSON and `Retry-After`: `{"message": "Service Unavailable"}`.',
        detail="It is not in the platform's own words: a proxy may have said so after the fact.",
    ),
    Rule(
        name="unauthorized",
        status="401, 403",
        body="any",
        holds=lambda answer, _: answer.status in {401, 403},
        known=Refused,
        reason=Reason.UNAUTHORIZED,
        source="RFC 9110, 15.5.2 and 15.5.4: refused for who asks, before anything is done.",
    ),
    Rule(
        name="call_not_found",
        status="404, 410",
        body="an object",
        holds=lambda answer, value: answer.status in {404, 410} and isinstance(value, dict),
        known=Refused,
        reason=Reason.CALL_NOT_FOUND,
        source="`CALL_NOT_FOUND`, and 404 for a call that has ended (piopiy-agent 1.2.1).",
    ),
    Rule(
        name="address_not_found",
        status="404, 410",
        body="anything else",
        holds=lambda answer, _: answer.status in {404, 410},
        known=Refused,
        reason=Reason.REFUSED_BY_PLATFORM,
        source="The platform says it in JSON. Without, a web server knows no such address.",
        detail="It says nothing of the call: not a JSON object came with it. Check PIOPIY_API_URL.",
    ),
    Rule(
        name="in_progress",
        status="409",
        body="any",
        holds=lambda answer, _: answer.status == 409,
        known=Refused,
        reason=Reason.TRANSFER_IN_PROGRESS,
        source='`{"error": "transfer_in_progress", "request_id": …}` (piopiy-agent 1.2.1). Whose: see below.',
    ),
    Rule(
        name="timed_out",
        status="408",
        body="any",
        holds=lambda answer, _: answer.status == 408,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_LOST,
        source="A proxy's word about a request that may have passed it.",
    ),
    Rule(
        name="refused",
        status="any other 4xx",
        body="any",
        holds=lambda answer, _: 400 <= answer.status < 500,
        known=Refused,
        reason=Reason.REFUSED_BY_PLATFORM,
        source="RFC 9110, 15.5: the request itself is wrong; asking again is useless.",
    ),
    Rule(
        name="server_error",
        status="any other 5xx",
        body="any",
        holds=lambda answer, _: 500 <= answer.status < 600,
        known=OutcomeUnknown,
        reason=Reason.SERVER_ERROR,
        source="RFC 9110, 15.6: whoever failed says nothing of how far it had come.",
    ),
    Rule(
        name="redirect",
        status="3xx",
        body="any",
        holds=lambda answer, _: 300 <= answer.status < 400,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_UNREADABLE,
        source="To follow it would be a second POST; whether the first one was carried out it does not say.",
        detail="The answer is a redirect; it was not followed.",
    ),
    Rule(
        name="strange",
        status="101, 600 up",
        body="any",
        holds=lambda _answer, _value: True,
        known=OutcomeUnknown,
        reason=Reason.ANSWER_UNREADABLE,
        source="Nobody asked for it, or no standard knows it.",
    ),
)
"""The list. Interim answers (1xx but 101) never come here: the final one is read."""


def find_rule(answer: ReceivedAnswer, value: object) -> Rule:
    """Return the rule that decides."""
    return next(rule for rule in RULES if rule.holds(answer, value))
