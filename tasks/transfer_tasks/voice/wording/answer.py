"""What a session learnt about one request, for whoever asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.voice.wording.phrases import AnyReason, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferAnswer:
    """What a session learnt about one request.

    Attributes:
        reason: Why it ended as it did.
        phrase: What may be said and done about it.
        destination: The name that it leads to; empty where none was understood.
        told: What the caller has been told of it so far, sentence by sentence.
        to_say: What the caller should be told and has not been: the session could not speak it.
        is_repeat: Whether another request of this session got this answer first.
        transfer_id: The transfer's id; empty where none was asked for.
        outcome: The ledger's own word, where there is one.
        offered: Names and descriptions of what there is, for a model that named what there isn't.
    """

    reason: AnyReason
    phrase: Phrase
    destination: str = ""
    told: tuple[str, ...] = ()
    to_say: str | None = None
    is_repeat: bool = False
    transfer_id: str = ""
    outcome: TransferOutcome | None = None
    offered: Mapping[str, str] | None = None

    @property
    def state(self) -> State:
        """How the request ended."""
        return self.phrase.state

    @property
    def was_said(self) -> bool:
        """Whether the caller has been told all that there is to tell."""
        return bool(self.told) and not self.to_say

    @property
    def ends_conversation(self) -> bool:
        """Whether the caller may be on the way out and has heard so: the model has nothing to add."""
        return self.state is State.SUBMITTED and self.was_said

    def for_model(self) -> dict[str, Any]:
        """Return what the model should see: plain JSON values, no ids, no numbers, never empty."""
        return {
            "status": self.state.value,
            "reason": self.reason.value,
            **({"destination": self.destination} if self.destination else {}),
            **({"destinations": dict(self.offered)} if self.offered else {}),
            **({"caller_was_told": " ".join(self.told)} if self.told else {}),
            **({"say_to_caller": self.to_say} if self.to_say else {}),
            "note": self.phrase.note,
            "may_try_again": self.phrase.may_retry,
            "may_try_other_destination": self.phrase.may_try_other,
        }
