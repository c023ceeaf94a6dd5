"""What a message asks for, if anybody may ask it; else why it is refused. And many refusals at once.

A refusal costs a slot, a thread's turn and Flower's events, as a transfer does. So while many come, they end
at the door, where the queue is read, with one step of the ledger::

    queue ─▶ door ─┬─ readable, or no flood ─▶ a slot ─▶ service
                   └─ refused, in a flood: record, audit line, the next message
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from transfer_tasks.errors import InvalidIntent, LedgerUnavailable, UnsupportedSchemaVersion
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.message import Notification, Request
from transfer_worker.delivery.route import read_intent
from transfer_worker.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.signature import Written
    from transfer_worker.delivery.ports import Clock, Ledger, Policy

FLOOD_REFUSALS: Final = 5
FLOOD_SECONDS: Final = 1.0
"""So many refusals within this time are a flood. Fewer take slots, and are seen in Flower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a message is refused, and what of it can be read.

    Attributes:
        judged: The intent that is against the rules, where it is on record; else empty.
    """

    reason: Reason
    detail: str
    call_id: str = ""
    content_digest: str = ""
    judged: str = ""

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

    def turn_away(self, messages: Sequence[Notification | Request]) -> list[bool]:
        """Refuse in a flood what can only be refused; say of each message whether it has ended with that."""
        if not self.is_flooded:
            return [False] * len(messages)
        judged = [self._judge(message) for message in messages]
        refusals = [
            (message.transfer_id, refusal)
            for message, refusal in zip(messages, judged, strict=True)
            if refusal
        ]
        try:
            ended = iter(self.ledger.refuse_all(refusals))
        except LedgerUnavailable:
            return [False] * len(messages)
        turned_away = [refusal is not None and next(ended) for refusal in judged]
        for _ in filter(None, turned_away):
            self.note_refusal()
        return turned_away

    def _judge(self, message: Notification | Request) -> Refusal | None:
        """Return what is against a message: it can't be asked, is on no record, or is against the rules."""
        if isinstance(message, Request):
            judged, written, on_record = judge_request(message, self.policy), message.written, ""
        else:
            judged, written, on_record = (
                judge_missing(message, self.policy),
                message.copy,
                message.copy.text,
            )
        if isinstance(judged, Refusal):
            return judged
        error = self._find_fault(written, judged)
        return replace(Refusal.of(error, judged), judged=on_record) if error else None

    def _find_fault(self, written: Written, intent: TransferIntent) -> InvalidIntent | NotPermitted | None:
        """Return what the rules have against an intent; None where it may be carried out."""
        try:
            self.policy.route(intent, key=self.policy.identify(written))
        except (InvalidIntent, NotPermitted) as error:
            return error
        return None
