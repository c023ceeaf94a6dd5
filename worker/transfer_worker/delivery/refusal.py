"""What a message asks for, if anybody may ask it; else why it is refused. And many refusals at once.

A refusal costs a slot, a thread's turn and Flower's events, as a transfer does. So while many come, they end
at the door, where the queue is read, with one step of the ledger::

    queue ─▶ door ─┬─ readable, or no flood ─▶ a slot ─▶ service
                   └─ refused, in a flood: record, audit line, the next message
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import InvalidIntent, LedgerUnavailable, UnsupportedSchemaVersion
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.message import Notification, Request
from transfer_worker.delivery.route import read_intent
from transfer_worker.errors import NotPermitted

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.signature import Written
    from transfer_worker.delivery.ports import Clock, Ledger, Policy

FLOOD_REFUSALS: Final = 5
FLOOD_SECONDS: Final = 1.0
"""So many refusals within this time are a flood. Fewer take slots, and are seen in Flower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a message is refused, and what of it can be read."""

    reason: Reason
    detail: str
    call_id: str = ""
    content_digest: str = ""

    @classmethod
    def of(cls, error: InvalidIntent | NotPermitted, intent: TransferIntent) -> Refusal:
        """Return the refusal of an intent that can be read."""
        return cls(
            reason=reason_of(error),
            detail=detail_of(error),
            call_id=intent.call_id,
            content_digest=intent.content_digest(),
        )


def reason_of(error: InvalidIntent | NotPermitted) -> Reason:
    """Return the reason that stands for an error."""
    if isinstance(error, NotPermitted):
        return error.reason
    if isinstance(error, UnsupportedSchemaVersion):
        return Reason.UNSUPPORTED_SCHEMA_VERSION
    return Reason.INVALID_INTENT


def detail_of(error: InvalidIntent | NotPermitted) -> str:
    """Return what the record says of an error."""
    return error.detail if isinstance(error, NotPermitted) else str(error)


def judge_request(request: Request, policy: Policy) -> TransferIntent | Refusal:
    """Return what a request asks for; a refusal where nobody with a key asks, or it can't be read."""
    stranger: NotPermitted | None = None
    try:
        policy.identify(request.written)
    except NotPermitted as error:
        stranger = error
    try:
        intent = request.read_intent()
    except InvalidIntent as error:
        return Refusal(
            reason=reason_of(stranger or error),
            detail=stranger.detail if stranger else str(error),
            call_id=request.read_call_id(),
            content_digest=request.digest(),
        )
    return Refusal.of(stranger, intent) if stranger else intent


def judge_missing(notification: Notification, policy: Policy) -> TransferIntent | Refusal:
    """Return what was asked for where there is no record.

    A copy that can be read, and is signed where keys are set, was accepted once: Redis has lost it. Without
    one, anybody may have made up the id.
    """
    copy = notification.copy
    if not copy.text:
        return Refusal(reason=Reason.INVALID_INTENT, detail="no record, and the message has no intent")
    try:
        return read_intent(copy, policy, transfer_id=notification.transfer_id)[0]
    except InvalidIntent as error:
        return Refusal(reason=reason_of(error), detail=f"no record, and {error}")
    except NotPermitted as error:
        return Refusal(reason=error.reason, detail=f"no record, and {error.detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Refuses in a flood what would only take a slot to be refused."""

    ledger: Ledger
    policy: Policy
    clock: Clock
    _refused_at: deque[float] = field(default_factory=lambda: deque(maxlen=FLOOD_REFUSALS))

    def note_refusal(self) -> None:
        """Count one."""
        self._refused_at.append(self.clock.monotonic())

    def refuse(
        self, transfer_id: str, refusal: Refusal, *, state: State = State.REJECTED
    ) -> TransferOutcome | None:
        """Give a message that can't become a transfer its one outcome; None where its transfer is open."""
        return self.ledger.refuse(
            transfer_id,
            call_id=refusal.call_id,
            state=state,
            reason=refusal.reason,
            detail=refusal.detail,
            content_digest=refusal.content_digest,
        )

    @property
    def is_flooded(self) -> bool:
        """Whether so many were refused lately that others would wait for them."""
        times = self._refused_at
        return len(times) == FLOOD_REFUSALS and self.clock.monotonic() - times[0] < FLOOD_SECONDS

    def turn_away(self, message: Notification | Request) -> bool:
        """Refuse a message in a flood; say whether it has ended with that."""
        if not self.is_flooded:
            return False
        try:
            has_ended = (
                self._refuse_request(message)
                if isinstance(message, Request)
                else self._refuse_notification(message)
            )
        except LedgerUnavailable:
            return False
        if has_ended:
            self.note_refusal()
        return has_ended

    def _refuse_request(self, request: Request) -> bool:
        judged = judge_request(request, self.policy)
        if not isinstance(judged, Refusal):
            error = self._find_fault(request.written, judged)
            if error is None:
                return False
            judged = Refusal.of(error, judged)
        return self.refuse(request.transfer_id, judged) is not None

    def _refuse_notification(self, notification: Notification) -> bool:
        """End what is on no record, and what is on record and against the rules."""
        judged = judge_missing(notification, self.policy)
        if isinstance(judged, Refusal):
            return self.refuse(notification.transfer_id, judged) is not None
        error = self._find_fault(notification.copy, judged)
        return error is not None and (
            self.ledger.forbid(
                notification.transfer_id,
                judged=notification.copy.text,
                reason=reason_of(error),
                detail=detail_of(error),
            )
            is not None
        )

    def _find_fault(self, written: Written, intent: TransferIntent) -> InvalidIntent | NotPermitted | None:
        """Return what the rules have against an intent; None where it may be carried out."""
        try:
            self.policy.route(intent, key=self.policy.identify(written))
        except (InvalidIntent, NotPermitted) as error:
            return error
        return None
