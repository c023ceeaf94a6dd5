"""How a transfer ends: the closed set of states and reasons, and what each lets a session say and do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final


class State(StrEnum):
    """Where a transfer stands. The first three are open, the rest are endings."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    SENDING = "sending"
    SUBMITTED = "submitted"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_open(self) -> bool:
        """Whether somebody may still act on the transfer."""
        return self in OPEN_STATES


OPEN_STATES: Final = frozenset({State.WAITING, State.CLAIMED, State.SENDING})


class Reason(StrEnum):
    """Why a transfer ended as it did. Closed: every reason has a row in `GUIDE`."""

    ACCEPTED_BY_PLATFORM = "accepted_by_platform"
    TRANSFER_CONFIRMED = "transfer_confirmed"
    INVALID_INTENT = "invalid_intent"
    UNSUPPORTED_SCHEMA_VERSION = "unsupported_schema_version"
    UNKNOWN_DESTINATION = "unknown_destination"
    DESTINATION_NOT_ALLOWED = "destination_not_allowed"
    ACTION_NOT_ALLOWED = "action_not_allowed"
    SIGNATURE_INVALID = "signature_invalid"
    CALLER_ID_MISSING = "caller_id_missing"
    CALLER_ID_NOT_ALLOWED = "caller_id_not_allowed"
    DEADLINE_UNKNOWN = "deadline_unknown"
    ETA_NOT_SUPPORTED = "eta_not_supported"
    CANVAS_NOT_SUPPORTED = "canvas_not_supported"
    DESTINATION_PAUSED = "destination_paused"
    LIMIT_REACHED = "limit_reached"
    TRANSFER_IN_PROGRESS = "transfer_in_progress"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    REFUSED_BY_PLATFORM = "refused_by_platform"
    CALL_NOT_FOUND = "call_not_found"
    UNAUTHORIZED = "unauthorized"
    PLATFORM_UNREACHABLE = "platform_unreachable"
    RATE_LIMITED = "rate_limited"
    PLATFORM_UNAVAILABLE = "platform_unavailable"
    NOT_SENT = "not_sent"
    NOT_TRANSFERRED = "not_transferred"
    DEADLINE_PASSED = "deadline_passed"
    CANCELLED_BY_SESSION = "cancelled_by_session"
    CANCELLED_BY_OPERATOR = "cancelled_by_operator"
    ANSWER_LOST = "answer_lost"
    SERVER_ERROR = "server_error"
    ANSWER_UNREADABLE = "answer_unreadable"
    IN_PROGRESS_AFTER_ATTEMPT = "in_progress_after_attempt"
    WORKER_DIED = "worker_died"
    RECORD_MISSING = "record_missing"
    RECORD_DAMAGED = "record_damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What one reason means.

    Attributes:
        state: The ending that this reason belongs to.
        meaning: One sentence for an engineer.
        next_step: What an engineer does about it.
        say: One true sentence for the caller; None where nothing should be said.
        may_retry: Whether asking for the same destination again can help.
        may_try_other: Whether asking for another destination can help.
    """

    state: State
    meaning: str
    next_step: str
    say: str | None
    may_retry: bool = False
    may_try_other: bool = False


_SORRY: Final = "I'm sorry, I couldn't transfer you just now."
_SORRY_OTHER: Final = "I'm sorry, I can't transfer you there."

GUIDE: Final[dict[Reason, Guide]] = {
    Reason.ACCEPTED_BY_PLATFORM: Guide(
        state=State.SUBMITTED,
        meaning="Piopiy accepted the request; nobody has picked up yet.",
        next_step="Nothing. Whether somebody picked up is in Piopiy's call log.",
        say="I've asked for the connection. One moment, please.",
    ),
    Reason.TRANSFER_CONFIRMED: Guide(
        state=State.SUBMITTED,
        meaning="The answer was lost, and later evidence says that the platform carried the transfer out.",
        next_step="Nothing. Where a session's end is the evidence, the caller may have hung up instead.",
        say=None,
    ),
    Reason.INVALID_INTENT: Guide(
        state=State.REJECTED,
        meaning="The request on the queue is not a valid TransferIntent.",
        next_step="Read the field and the fix in the record, and correct the publisher.",
        say=_SORRY,
        may_try_other=True,
    ),
    Reason.UNSUPPORTED_SCHEMA_VERSION: Guide(
        state=State.REJECTED,
        meaning="The request was written by a newer publisher than this worker understands.",
        next_step="Deploy workers before publishers; then ask again.",
        say=_SORRY,
    ),
    Reason.UNKNOWN_DESTINATION: Guide(
        state=State.REJECTED,
        meaning="The destination's name is not in the worker's registry.",
        next_step="Add the name to the file in TRANSFER_DESTINATIONS_FILE, or correct the name.",
        say=_SORRY_OTHER,
        may_try_other=True,
    ),
    Reason.DESTINATION_NOT_ALLOWED: Guide(
        state=State.REJECTED,
        meaning="An endpoint is outside the registry and TRANSFER_ALLOW_UNLISTED does not cover it.",
        next_step="Put the endpoint into the registry, or allow its region or host.",
        say=_SORRY_OTHER,
        may_try_other=True,
    ),
    Reason.ACTION_NOT_ALLOWED: Guide(
        state=State.REJECTED,
        meaning="It asks for an action, media, a header or more than the settings allow; nothing was sent.",
        next_step="Read the field and the fix in the record. Allow it only if you know who asked for it.",
        say=_SORRY,
        may_try_other=True,
    ),
    Reason.SIGNATURE_INVALID: Guide(
        state=State.REJECTED,
        meaning="Nobody with a key has asked for this: it is unsigned, altered, or beyond its key.",
        next_step="Find out who wrote it. For a publisher of yours: look at its TRANSFER_SIGNING_KEY.",
        say=_SORRY,
    ),
    Reason.CALLER_ID_MISSING: Guide(
        state=State.REJECTED,
        meaning="Neither the intent, nor the registry, nor PIOPIY_NUMBER gives a caller id.",
        next_step="Set PIOPIY_NUMBER on the worker.",
        say=_SORRY,
    ),
    Reason.CALLER_ID_NOT_ALLOWED: Guide(
        state=State.REJECTED,
        meaning="The caller id is neither PIOPIY_NUMBER, nor the registry's, nor in TRANSFER_CALLER_IDS.",
        next_step="Leave it out, or put it into TRANSFER_CALLER_IDS if the number is yours.",
        say=_SORRY,
    ),
    Reason.DEADLINE_UNKNOWN: Guide(
        state=State.REJECTED,
        meaning="A message of plain Celery has no deadline, and its age is not known; nothing was sent.",
        next_step="Send it with Celery's `expires`, or with `expires_at` in the intent.",
        say=_SORRY,
    ),
    Reason.ETA_NOT_SUPPORTED: Guide(
        state=State.REJECTED,
        meaning="A message of plain Celery asked to be carried out more than 5 s ahead; nothing was sent.",
        next_step="Send it when the call is to be moved, without `eta` or `countdown`.",
        say=_SORRY,
    ),
    Reason.CANVAS_NOT_SUPPORTED: Guide(
        state=State.REJECTED,
        meaning="A message of plain Celery came with a chain, group, chord or callback; nothing was sent.",
        next_step="Send one message for one transfer, and follow its outcome on record.",
        say=_SORRY,
    ),
    Reason.DESTINATION_PAUSED: Guide(
        state=State.REJECTED,
        meaning="An engineer has paused the destination, or all of them; nothing was sent.",
        next_step="Ask who did it: the name is in the record. `call-transfer resume` takes it back.",
        say=_SORRY_OTHER,
        may_try_other=True,
    ),
    Reason.LIMIT_REACHED: Guide(
        state=State.REJECTED,
        meaning="More transfers were asked for than a limit on rate allows; nothing was sent.",
        next_step="The detail says which. Find out who asks; raise it in the registry if it is too low.",
        say=_SORRY,
    ),
    Reason.TRANSFER_IN_PROGRESS: Guide(
        state=State.REJECTED,
        meaning="Another transfer of the same call stands in the way.",
        next_step="Look at the other transfer with `call-transfer show CALL_ID`.",
        say=None,
    ),
    Reason.IDEMPOTENCY_CONFLICT: Guide(
        state=State.REJECTED,
        meaning="The idempotency key, or the transfer id, was used before with other content.",
        next_step="Use a new key, and a new id, for a new request.",
        say=_SORRY,
    ),
    Reason.REFUSED_BY_PLATFORM: Guide(
        state=State.REJECTED,
        meaning="Piopiy (or its SDK's validator) refused the request as wrong.",
        next_step="Read the answer in the record. A 404 that is not JSON: check PIOPIY_API_URL.",
        say=_SORRY_OTHER,
        may_try_other=True,
    ),
    Reason.CALL_NOT_FOUND: Guide(
        state=State.REJECTED,
        meaning="Piopiy knows no live call with this id: the caller has probably hung up.",
        next_step="Nothing, unless the session still holds the call: then check the call id.",
        say=None,
    ),
    Reason.UNAUTHORIZED: Guide(
        state=State.REJECTED,
        meaning="Piopiy refused the token. No transfer will work until somebody acts.",
        next_step="Check PIOPIY_TOKEN on the worker, now.",
        say=_SORRY,
    ),
    Reason.PLATFORM_UNREACHABLE: Guide(
        state=State.FAILED,
        meaning="No connection to Piopiy could be made before the deadline; nothing was sent.",
        next_step="Check the network and PIOPIY_API_URL. The call was not moved.",
        say=_SORRY,
        may_retry=True,
    ),
    Reason.RATE_LIMITED: Guide(
        state=State.FAILED,
        meaning="Piopiy answered 429 until the deadline; nothing was carried out.",
        next_step="Look at the rate of transfers. The call was not moved.",
        say=_SORRY,
        may_retry=True,
    ),
    Reason.PLATFORM_UNAVAILABLE: Guide(
        state=State.FAILED,
        meaning="Piopiy answered 503, in its own words, until the deadline; nothing was carried out.",
        next_step="Check Piopiy's status. The call was not moved.",
        say=_SORRY,
        may_retry=True,
    ),
    Reason.NOT_SENT: Guide(
        state=State.FAILED,
        meaning="The worker was held up so long that it did not dare to send; nothing was sent.",
        next_step="Look for a paused or starved worker. The call was not moved.",
        say=_SORRY,
        may_retry=True,
    ),
    Reason.NOT_TRANSFERRED: Guide(
        state=State.FAILED,
        meaning="The answer was lost, and later evidence says that the call was not moved.",
        next_step="Nothing. The same transfer may be asked for again.",
        say=_SORRY,
        may_retry=True,
    ),
    Reason.DEADLINE_PASSED: Guide(
        state=State.EXPIRED,
        meaning="No worker could act before the intent's deadline; nothing was sent.",
        next_step="See whether workers run and how old the oldest waiting transfer is.",
        say=_SORRY,
        may_retry=True,
    ),
    Reason.CANCELLED_BY_SESSION: Guide(
        state=State.CANCELLED,
        meaning="The session withdrew the request before it was sent (the caller hung up, say).",
        next_step="Nothing.",
        say=None,
        may_retry=True,
    ),
    Reason.CANCELLED_BY_OPERATOR: Guide(
        state=State.CANCELLED,
        meaning="An engineer withdrew the request before it was sent.",
        next_step="Ask who did it: the name is in the record.",
        say=_SORRY,
    ),
    Reason.ANSWER_LOST: Guide(
        state=State.UNKNOWN,
        meaning="The request was sent and no answer came: Piopiy may have moved the call.",
        next_step="Find out in Piopiy's call log and settle it. It is never sent again by itself.",
        say=None,
    ),
    Reason.SERVER_ERROR: Guide(
        state=State.UNKNOWN,
        meaning="Piopiy, or a proxy before it, answered with a 5xx: the call may have been moved.",
        next_step="Find out in Piopiy's call log and settle it. It is never sent again by itself.",
        say=None,
    ),
    Reason.ANSWER_UNREADABLE: Guide(
        state=State.UNKNOWN,
        meaning="The answer proves nothing (a proxy's page, a redirect, a success that says no).",
        next_step="Look at the stored answer; check PIOPIY_API_URL and what stands in between.",
        say=None,
    ),
    Reason.IN_PROGRESS_AFTER_ATTEMPT: Guide(
        state=State.UNKNOWN,
        meaning="Piopiy says that a transfer of this call is running: it may be the last request of ours.",
        next_step="Look for the running request_id in the record, and settle it by Piopiy's call log.",
        say=None,
    ),
    Reason.WORKER_DIED: Guide(
        state=State.UNKNOWN,
        meaning="The worker died after it began the attempt: the request may have been sent.",
        next_step="Find out in Piopiy's call log and settle it. It is never sent again by itself.",
        say=None,
    ),
    Reason.RECORD_MISSING: Guide(
        state=State.UNKNOWN,
        meaning="A message came for a transfer that Redis has no record of: it has lost data.",
        next_step="Check Redis's persistence and memory policy with `call-transfer doctor`.",
        say=None,
    ),
    Reason.RECORD_DAMAGED: Guide(
        state=State.UNKNOWN,
        meaning="The record in Redis could not be read, and was set aside: the request may have been sent.",
        next_step="Read what the detail names, find out who wrote it, and settle it by Piopiy's call log.",
        say=None,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOutcome:
    """How one transfer ended.

    Attributes:
        transfer_id: The transfer's id, which is also its Celery task id.
        call_id: The canonical id of the call.
        state: The ending.
        reason: Why, from the closed list.
        attempts: How many HTTP requests were begun.
        hop: Which transfer of its call this is: its ordinal, from 1.
        source: Who says so: ``platform``, ``worker``, ``publisher``, ``session`` or ``operator``.
        http_status: Status of the last answer, if there was one.
        detail: One masked line with the particulars, possibly empty.
        ended_at_ms: When it ended, in milliseconds since the epoch, by Redis's clock.
    """

    transfer_id: str
    call_id: str
    state: State
    reason: Reason
    attempts: int = 0
    hop: int = 1
    source: str = "worker"
    http_status: int | None = None
    detail: str = ""
    ended_at_ms: int = 0

    @property
    def guide(self) -> Guide:
        """What this outcome's reason means, and what may be said and done."""
        return GUIDE[self.reason]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the outcome as one line of JSON."""
        return json.dumps(self.as_dict(), separators=(",", ":"))
