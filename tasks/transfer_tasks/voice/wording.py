"""What the caller hears and what the model is told, for every way in which a request can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.outcome import GUIDE, Reason, State, TransferOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SessionReason(StrEnum):
    """Why a session has an answer that no ledger gave. Closed: every reason has a row in `SESSION_GUIDE`."""

    NO_SUCH_DESTINATION = "no_such_destination"
    INVALID_REQUEST = "invalid_request"
    QUEUE_UNAVAILABLE = "queue_unavailable"
    QUEUE_SILENT = "queue_silent"
    OUTCOME_NOT_KNOWN = "outcome_not_known"
    SESSION_ENDED = "session_ended"
    INTERNAL_ERROR = "internal_error"


AnyReason = Reason | SessionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """What one reason lets a session say and do.

    Attributes:
        state: The ending that the reason belongs to.
        say: One true sentence for the caller; None where nothing should be said.
        note: What the model should know; never spoken as it is.
        may_retry: Whether asking for the same destination again can help.
        may_try_other: Whether asking for another destination can help.
    """

    state: State
    say: str | None
    note: str
    may_retry: bool = False
    may_try_other: bool = False

    @property
    def speaks(self) -> bool:
        """Whether the caller is told anything at all."""
        return bool(self.say)


_SORRY: Final = "I'm sorry, I couldn't transfer you just now."
_TROUBLE: Final = "I'm sorry, I'm having trouble with the transfer. Please stay on the line."
_UNSURE: Final = "I'm sorry, I can't tell yet whether your transfer went through. Please stay on the line."

SESSION_GUIDE: Final[dict[SessionReason, Phrase]] = {
    SessionReason.NO_SUCH_DESTINATION: Phrase(
        state=State.REJECTED,
        say=None,
        note="Nothing was asked for: there is no such destination. Choose one from the list in the tool's "
        "description; if none fits, tell the caller what there is.",
        may_try_other=True,
    ),
    SessionReason.INVALID_REQUEST: Phrase(
        state=State.REJECTED,
        say=_SORRY,
        note="This call can't be transferred at all. Don't try again; help the caller yourself.",
    ),
    SessionReason.QUEUE_UNAVAILABLE: Phrase(
        state=State.FAILED,
        say=_SORRY,
        note="The transfer system can't be reached; nothing was asked for. The caller is still with you.",
        may_retry=True,
    ),
    SessionReason.QUEUE_SILENT: Phrase(
        state=State.UNKNOWN,
        say=_TROUBLE,
        note="The transfer system did not answer; the request is being withdrawn. Don't promise anything.",
        may_retry=True,
    ),
    SessionReason.OUTCOME_NOT_KNOWN: Phrase(
        state=State.UNKNOWN,
        say=_UNSURE,
        note="It is not known whether the transfer was carried out. Don't say that it worked or failed.",
    ),
    SessionReason.SESSION_ENDED: Phrase(
        state=State.CANCELLED, say=None, note="The call has ended. Say nothing more."
    ),
    SessionReason.INTERNAL_ERROR: Phrase(
        state=State.UNKNOWN,
        say=_TROUBLE,
        note="Something went wrong in this program; whether the call is moved is not known.",
    ),
}

_NOTES: Final[dict[State, str]] = {
    State.SUBMITTED: "The transfer was accepted and the caller is about to leave. Say nothing more.",
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
_SAY_UNKNOWN: Final = {reason: _UNSURE for reason, guide in GUIDE.items() if guide.state is State.UNKNOWN}


def _default_phrase(reason: AnyReason) -> Phrase:
    if isinstance(reason, SessionReason):
        return SESSION_GUIDE[reason]
    guide = GUIDE[reason]
    return Phrase(
        state=guide.state,
        say=_SAY_UNKNOWN.get(reason, guide.say),
        note=_NOTES_OF_REASONS.get(reason, _NOTES[guide.state]),
        may_retry=guide.may_retry,
        may_try_other=guide.may_try_other,
    )


class Wording:
    """The sentences and notes of one deployment: the defaults, and what replaces them.

    Args:
        say: Sentences for the caller by reason; None for a reason at which nothing should be said.
        notes: Notes for the model by reason.
        holding: What the caller hears while a transfer takes long: the first line after
            `VoiceSettings.holding_after_seconds`, each further one `holding_every_seconds` later.
    """

    def __init__(
        self,
        *,
        say: Mapping[AnyReason, str | None] | None = None,
        notes: Mapping[AnyReason, str] | None = None,
        holding: Sequence[str] = ("One moment, please. I'm connecting you.",),
    ) -> None:
        self._say, self._notes = dict(say or {}), dict(notes or {})
        self.holding = tuple(holding)

    def phrase(self, reason: AnyReason) -> Phrase:
        """Return what is said and done about a reason."""
        default = _default_phrase(reason)
        return Phrase(
            state=default.state,
            say=self._say.get(reason, default.say),
            note=self._notes.get(reason, default.note),
            may_retry=default.may_retry,
            may_try_other=default.may_try_other,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAnswer:
    """What a session learnt about one request.

    Attributes:
        reason: Why it ended as it did.
        phrase: What may be said and done about it.
        was_said: Whether the caller has been told `phrase.say` already.
        is_repeat: Whether another request of this session got this answer first.
        transfer_id: The transfer's id; empty where none was asked for.
        outcome: The ledger's own word, where there is one.
    """

    reason: AnyReason
    phrase: Phrase
    was_said: bool = False
    is_repeat: bool = False
    transfer_id: str = ""
    outcome: TransferOutcome | None = None

    @property
    def state(self) -> State:
        """How the request ended."""
        return self.phrase.state

    @property
    def ends_conversation(self) -> bool:
        """Whether the caller is on the way out and has heard so: the model has nothing to add."""
        return self.state is State.SUBMITTED and self.was_said

    def for_model(self) -> dict[str, Any]:
        """Return what the model should see: plain JSON values, no ids, no numbers, never empty."""
        told = {"caller_was_told": self.phrase.say} if self.was_said else {}
        return {
            "status": self.state.value,
            "reason": self.reason.value,
            **told,
            "note": self.phrase.note,
            "may_try_again": self.phrase.may_retry,
            "may_try_other_destination": self.phrase.may_try_other,
        }
