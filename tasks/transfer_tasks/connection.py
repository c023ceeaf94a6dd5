"""Whether anybody picked up: what is reported of a transfer after the platform has accepted it, and kept.

The state of a transfer ends at "accepted". This is the second fact beside it::

    (nothing known) ──▶ ringing ──▶ connected | not_connected (reason)    a final stands, in whatever order

Whoever hears something builds a `ConnectionReport` and runs `ledger.commands.report_connection(report)` with
it. No report ever causes a request to the platform.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    from datetime import datetime

    from transfer_tasks.outcome import State


class ConnectionStatus(StrEnum):
    """What is reported of one transfer."""

    QUEUED = "queued"
    """The platform has the request, and says no more: proof that it was accepted."""
    RINGING = "ringing"
    CONNECTED = "connected"
    NOT_CONNECTED = "not_connected"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow but a contradiction."""
        return self in {ConnectionStatus.CONNECTED, ConnectionStatus.NOT_CONNECTED}


class ConnectionReason(StrEnum):
    """Why nobody was connected. Closed: the platform's words (piopiy-agent 1.2.1), and `caller_gone`."""

    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID_NUMBER = "invalid_number"
    UNREACHABLE = "unreachable"
    CALL_BARRED = "call_barred"
    NETWORK_ERROR = "network_error"
    CALLER_GONE = "caller_gone"


class ReportSource(StrEnum):
    """Whose word it is."""

    ROOM = "room"
    PLATFORM_API = "platform_api"
    WEBHOOK = "webhook"
    SESSION = "session"
    OPERATOR = "operator"

    @property
    def is_platform(self) -> bool:
        """Whether the platform itself says so."""
        return self in PLATFORM_SOURCES


PLATFORM_SOURCES: Final = frozenset({ReportSource.ROOM, ReportSource.PLATFORM_API, ReportSource.WEBHOOK})

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:+/=-]{1,128}")


def read_call_id(value: object) -> str:
    """Return the canonical spelling of a call's id; an empty text where the value does not spell a UUID."""
    try:
        return str(UUID(value)) if isinstance(value, str) else ""
    except ValueError:
        return ""


def is_request_id(text: object) -> bool:
    """Whether a text can be one of the platform's request ids; the ledger takes no other."""
    return isinstance(text, str) and bool(_REQUEST_ID.fullmatch(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReport:
    """What one source says of one request to the platform.

    Attributes:
        call_id: The call, canonical; or an empty text where only the request is known.
        request_id: The platform's id of the request, or an empty text.
        status: What is said.
        reason: With `not_connected` only; None where the source gives none of the closed list.
        caller_gone: Whether the whole call is over.
        source: Whose word it is.
        at: When it happened, as the source says; aware. None where it says nothing. Shown; and what
            happened before a request began is not of it, unless it is named.
        transfer_id: The transfer itself, where whoever reports has found it by other means (an engineer by
            name, a webhook by conversation and number). Else the ledger finds it, by `request_id` first.

    Raises:
        ValueError: It can't be a report; the text says why, and repeats nothing of it.
    """

    call_id: str
    request_id: str
    status: ConnectionStatus
    source: ReportSource
    reason: ConnectionReason | None = None
    caller_gone: bool = False
    at: datetime | None = None
    transfer_id: str = ""

    def __post_init__(self) -> None:
        """Check what the types can't say."""
        if not (self.call_id or self.request_id or self.transfer_id):
            raise ValueError("a report names a call, a request or a transfer")
        if self.request_id and not is_request_id(self.request_id):
            raise ValueError("request_id: up to 128 letters, digits and _.:+/=-")
        if self.status is not ConnectionStatus.NOT_CONNECTED and (self.reason or self.caller_gone):
            raise ValueError("a reason belongs to not_connected")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError("at: a point in time with its zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformWords:
    """What the platform's own words say."""

    status: ConnectionStatus
    reason: ConnectionReason | None = None
    caller_gone: bool = False

    def report(self, *, call_id: str, request_id: str, source: ReportSource) -> ConnectionReport:
        """Return them as a report of one request."""
        return ConnectionReport(
            call_id=call_id,
            request_id=request_id,
            status=self.status,
            reason=self.reason,
            caller_gone=self.caller_gone,
            source=source,
        )


_STATUSES: Final = {
    "queued": ConnectionStatus.QUEUED,
    "started": ConnectionStatus.RINGING,  # the target rings (pipecat-piopiy 0.2.4)
    "completed": ConnectionStatus.CONNECTED,
    "failed": ConnectionStatus.NOT_CONNECTED,
}
_CALL_ENDED: Final = "_and_call_ended"
_CALL_ENDED_ALONE: Final = "call_ended"


def read_platform_words(status: object, reason: object = None) -> PlatformWords | None:
    """Return what the platform says of a transfer; None for a status that nobody knows: never a success.

    The statuses of the room message and of ``GET /v3/transfers/{request_id}`` (piopiy-agent 1.2.1). A reason
    that is none of the closed list is left out: what failed has failed, whatever the words.
    """
    known = _STATUSES.get(status) if isinstance(status, str) else None
    if known is not ConnectionStatus.NOT_CONNECTED:
        return PlatformWords(status=known) if known else None
    word = reason if isinstance(reason, str) else ""
    caller_gone = word.endswith((_CALL_ENDED, _CALL_ENDED_ALONE))
    named: ConnectionReason | None
    try:
        named = ConnectionReason(word.removesuffix(_CALL_ENDED))
    except ValueError:
        named = ConnectionReason.CALLER_GONE if caller_gone else None
    return PlatformWords(
        status=known, reason=named, caller_gone=caller_gone or named is ConnectionReason.CALLER_GONE
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A final report that came after another one said otherwise. It changes nothing."""

    status: ConnectionStatus
    reason: ConnectionReason | None
    source: ReportSource
    heard_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The second fact of a transfer, as it is on record.

    Times are milliseconds since the epoch; 0 where it has not happened, or nobody has said when.

    Attributes:
        status: `ringing`, `connected` or `not_connected`.
        reason: Why nobody was connected; None where no source has said.
        caller_gone: Whether the whole call is over.
        source: Whose word it is.
        at_ms: When it happened, as the source says.
        heard_at_ms: When it came, by Redis's clock.
        ringing_at_ms: When the first word of ringing came, by Redis's clock.
        contradictions: Other finals that came later, the first few.
    """

    status: ConnectionStatus
    reason: ConnectionReason | None = None
    caller_gone: bool = False
    source: ReportSource
    at_ms: int = 0
    heard_at_ms: int = 0
    ringing_at_ms: int = 0
    contradictions: tuple[Contradiction, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> Connection | None:
        """Read what a record says; None where it says nothing, or nothing that can be read."""
        try:
            said = json.loads(text)
            return cls(
                **_read_fact(said),
                caller_gone=bool(said.get("caller_gone")),
                at_ms=int(said.get("at_ms") or 0),
                heard_at_ms=int(said.get("heard_ms") or 0),
                ringing_at_ms=int(said.get("ringing_ms") or 0),
                contradictions=tuple(
                    Contradiction(**_read_fact(other), heard_at_ms=int(other.get("heard_ms") or 0))
                    for other in said.get("contradictions") or ()
                ),
            )
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None


def _read_fact(said: dict[str, Any]) -> dict[str, Any]:
    reason = said.get("reason")
    return {
        "status": ConnectionStatus(said["status"]),
        "reason": ConnectionReason(reason) if reason else None,
        "source": ReportSource(said["source"]),
    }


class ReportVerdict(StrEnum):
    """What became of one report."""

    MATCHED = "matched"
    """It is on the transfer's record now."""
    REPEATED = "repeated"
    """The record says so already, or more."""
    CONTRADICTION = "contradiction"
    """The record has another final; that stands, and this is counted and kept beside it."""
    UNMATCHED = "unmatched"
    """No transfer is certainly meant. It is kept, and is matched should its request become known."""
    REFUSED = "refused"
    """The named transfer has no request at the platform that could have connected anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """The reply of the ledger's step `report_connection`.

    Attributes:
        verdict: What became of the report.
        transfer_id: Whose it is; an empty text where that is not known.
        state: That transfer's state now.
        connection: Its second fact now.
    """

    verdict: ReportVerdict
    transfer_id: str = ""
    state: State | None = None
    connection: Connection | None = None
