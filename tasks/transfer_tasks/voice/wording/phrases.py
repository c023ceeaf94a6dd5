"""What the model is told, and what may be done, for every way in which a request can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from transfer_tasks.outcome import GUIDE, Reason, State


class SessionReason(StrEnum):
    """Why a session has an answer that no ledger gave. Closed: every reason has a row in `SESSION_GUIDE`."""

    NO_SUCH_DESTINATION = "no_such_destination"
    INVALID_REQUEST = "invalid_request"
    QUEUE_UNAVAILABLE = "queue_unavailable"
    QUEUE_SILENT = "queue_silent"
    OUTCOME_NOT_KNOWN = "outcome_not_known"
    SESSION_ENDED = "session_ended"
    SESSION_CLOSED = "session_closed"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    TOO_LATE_TO_CANCEL = "too_late_to_cancel"
    INTERNAL_ERROR = "internal_error"


AnyReason = Reason | SessionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """What one reason lets a session say and do.

    Attributes:
        state: The ending that the reason belongs to.
        note: What the model should know; never spoken as it is.
        say: One true sentence for the caller; None where nothing should be said.
        may_retry: Whether asking for the same destination again can help.
        may_try_other: Whether asking for another destination can help.
    """

    state: State
    note: str
    say: str | None = None
    may_retry: bool = False
    may_try_other: bool = False

    @property
    def speaks(self) -> bool:
        """Whether the caller is told anything at all."""
        return bool(self.say)


SESSION_GUIDE: Final[dict[SessionReason, Phrase]] = {
    SessionReason.NO_SUCH_DESTINATION: Phrase(
        state=State.REJECTED,
        note="Nothing was asked for: there is no such destination. Choose one of `destinations`; if none "
        "fits, tell the caller what there is.",
        may_try_other=True,
    ),
    SessionReason.INVALID_REQUEST: Phrase(
        state=State.REJECTED,
        note="This call can't be transferred at all. Don't try again; help the caller yourself.",
    ),
    SessionReason.QUEUE_UNAVAILABLE: Phrase(
        state=State.FAILED,
        note="The transfer system can't be reached; nothing was asked for. The caller is still with you.",
        may_retry=True,
    ),
    SessionReason.QUEUE_SILENT: Phrase(
        state=State.UNKNOWN,
        note="The transfer system did not answer; the request is being withdrawn. Don't promise anything.",
        may_retry=True,
    ),
    SessionReason.OUTCOME_NOT_KNOWN: Phrase(
        state=State.UNKNOWN,
        note="It is not known whether the transfer was carried out. Don't say that it worked or failed.",
    ),
    SessionReason.SESSION_ENDED: Phrase(state=State.CANCELLED, note="The call has ended. Say nothing more."),
    SessionReason.SESSION_CLOSED: Phrase(
        state=State.FAILED,
        note="Nothing was asked for: this program's part for transfers has been closed though the call goes "
        "on. Don't try again; help the caller yourself.",
    ),
    SessionReason.NOTHING_TO_CANCEL: Phrase(
        state=State.CANCELLED, note="No transfer of this call is on its way; the caller is with you."
    ),
    SessionReason.TOO_LATE_TO_CANCEL: Phrase(
        state=State.UNKNOWN,
        note="The request had left already and can't be taken back: it may be ringing there, and whoever "
        "answers gets the caller. Nothing was changed. Stay with the caller meanwhile.",
    ),
    SessionReason.INTERNAL_ERROR: Phrase(
        state=State.UNKNOWN,
        note="Something went wrong in this program; whether the call is moved is not known.",
    ),
}

_NOTES: Final[dict[State, str]] = {
    State.SUBMITTED: "The platform has accepted the transfer, and the other side may be ringing. Say nothing "
    "more unless the caller speaks to you. Don't say that somebody has answered, and don't say goodbye.",
    State.REJECTED: "The transfer was refused; the caller is still with you.",
    State.FAILED: "The transfer did not happen; the caller is still with you.",
    State.EXPIRED: "The transfer did not start in time and will not happen; the caller is still with you.",
    State.CANCELLED: "The transfer was withdrawn and will not happen; the caller is still with you.",
    State.UNKNOWN: "It is not known whether the call is being moved: the phone may be ringing there. Don't "
    "say that it worked or failed, and don't ask again by yourself. Stay with the caller. If they ask for it "
    "later, call the tool again: it tells what is known by then, and sends nothing while this is open.",
}
_NOTES_OF_REASONS: Final[dict[Reason, str]] = {
    Reason.TRANSFER_IN_PROGRESS: "Another transfer of this call is on its way; it may be ringing for up "
    "to two minutes. Wait for it, and don't ask again meanwhile. If the caller wonders, say just that.",
    Reason.CALL_NOT_FOUND: "The platform says that the call has ended. If somebody still answers you, "
    "apologise and help them yourself.",
}
REPEAT_NOTE: Final = (
    "The transfer to this destination has been asked for already and was accepted; it may be ringing there. "
    "Nothing more was sent. If the caller goes on, help them; don't claim that somebody has answered."
)


def default_phrase(reason: AnyReason) -> Phrase:
    """Return what may be done about a reason, and what the model is told; the sentence is the wording's."""
    if isinstance(reason, SessionReason):
        return SESSION_GUIDE[reason]
    guide = GUIDE[reason]
    return Phrase(
        state=guide.state,
        note=_NOTES_OF_REASONS.get(reason, _NOTES[guide.state]),
        may_retry=guide.may_retry,
        may_try_other=guide.may_try_other,
    )
