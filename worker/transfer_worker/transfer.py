"""The heart: what happens to one intent, from the bell to the outcome.

Knows no Celery, no Redis and no piopiy: the ledger, the gateway, the rules, the retries and the clock are
handed to it. Each numbered step is entered once; only the attempts loop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from transfer_tasks.errors import InvalidIntent, UnsupportedSchemaVersion
from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.commands import Accepted, Begun, Claim, Ended, Lost, Missing, Open, TryAgain
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_worker.errors import NotCarriedOut, NotPermitted, OutcomeUnknown, Refused
from transfer_worker.retry import RetryPolicy, RetryWait, run_attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_worker.gateway import PlatformAnswer


class Ledger(Protocol):
    """The steps of the record that one transfer needs. Each is safe to repeat."""

    def claim(self, transfer_id: str) -> Claim | Ended | Open | Missing:
        """Take the right to act."""

    def accept(self, intent: TransferIntent) -> Accepted:
        """Accept an intent that came with its message, under the same rules as a published one."""

    def refuse(
        self, transfer_id: str, *, call_id: str, state: State, reason: Reason, detail: str
    ) -> TransferOutcome | None:
        """Give a message that can't become a transfer its one outcome."""

    def begin_attempt(self, claim: Claim, *, attempt: int) -> Begun | Lost:
        """Record an attempt before its request goes out."""

    def end_attempt(self, claim: Claim, note: AttemptNote) -> Ended | TryAgain | Lost:
        """Record what an attempt taught us."""


class Gateway(Protocol):
    """One HTTP request, and what is known after it."""

    def send(
        self,
        *,
        call_id: str,
        pipeline: list[dict[str, Any]],
        idempotency_key: str,
        write_within_seconds: float | None = None,
    ) -> PlatformAnswer:
        """Send exactly one POST; raise what is known if it is not an acceptance."""


class Policy(Protocol):
    """Where a call may go."""

    def route(self, intent: TransferIntent) -> list[dict[str, Any]]:
        """Return the pipeline to send, or raise `NotPermitted`."""


class Clock(Protocol):
    """Spans within this process."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptNote:
    """What one attempt taught us: an ending, or (state `claimed`) a wait for the next attempt.

    Attributes:
        attempt: With a wait: which attempt it follows, so that a late copy of this note is known as one.
    """

    state: State
    reason: Reason
    http_status: int | None = None
    detail: str = ""
    answer_json: str = ""
    attempt_ms: int = 0
    wait_ms: int | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """What became of one message.

    Attributes:
        outcome: How the transfer ended; None where somebody else still acts on it.
        note: One line for Flower.
        is_repeat: Whether the outcome is, or will be, that of an earlier request for the same.
    """

    outcome: TransferOutcome | None
    note: str
    is_repeat: bool = False


class _RightLost(Exception):
    """The right to act is gone; carries the outcome, if there is one."""

    def __init__(self, outcome: TransferOutcome | None, state: str) -> None:
        self.outcome, self.state = outcome, state


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferService:
    """Carries transfers out, one `perform` for each message.

    Attributes:
        write_within_seconds: How long after the record said `sending` the first byte may leave. A worker that
            was held up longer does not send: others may have given it up for dead meanwhile.
    """

    ledger: Ledger
    gateway: Gateway
    policy: Policy
    clock: Clock
    retry: RetryPolicy
    write_within_seconds: float

    def perform(self, transfer_id: str, asked: object = None) -> Performed:
        """Do what one message asks for.

        Args:
            transfer_id: The transfer to look at.
            asked: The intent, if it came with the message (from plain Celery) instead of being on record. It
                can be anything that JSON can say.

        Raises:
            LedgerUnavailable: The ledger could not be used, so nothing was sent. Recovery rings again.
        """
        # 1. The right to act; accepted first, if the message brought the intent along.
        seen = self.ledger.claim(transfer_id)
        if isinstance(seen, Missing):
            found = self._admit(transfer_id, asked)
            if isinstance(found, Performed):
                return found
            seen = found
        match seen:
            case Ended(outcome):
                return Performed(outcome=outcome, note="had ended before")
            case Open(state=state, worker=worker):
                return Performed(outcome=None, note=f"{state} by {worker or 'another worker'}")
            case Missing():
                return self._refuse(
                    transfer_id, reason=Reason.RECORD_MISSING, state=State.UNKNOWN, detail="no record"
                )
            case Claim():
                return Performed(outcome=self._act(seen), note="")

    def _admit(self, transfer_id: str, asked: object) -> Claim | Ended | Open | Missing | Performed:
        if asked is None:
            return Missing()
        try:
            fields = {**asked, "transfer_id": transfer_id} if isinstance(asked, Mapping) else asked
            intent = TransferIntent.from_dict(fields)
        except InvalidIntent as error:
            return self._refuse(
                transfer_id, reason=_reason_of(error), detail=str(error), call_id=_readable_call_id(asked)
            )
        accepted = self.ledger.accept(intent)
        match accepted.verdict:
            case "accepted" | "existing":
                return self.ledger.claim(intent.transfer_id)  # the canonical spelling of it
            case "repeat":
                first = self.ledger.claim(accepted.transfer_id) if not accepted.state.is_open else None
                outcome = first.outcome if isinstance(first, Ended) else None
                return Performed(
                    outcome=outcome,
                    note=f"repeat of {accepted.transfer_id} ({accepted.state})",
                    is_repeat=True,
                )
            case verdict:
                reason = Reason.IDEMPOTENCY_CONFLICT if verdict == "conflict" else Reason.TRANSFER_IN_PROGRESS
                return self._refuse(
                    transfer_id,
                    reason=reason,
                    detail=f"transfer {accepted.transfer_id} is {accepted.state}",
                    call_id=intent.call_id,
                )

    def _refuse(
        self,
        transfer_id: str,
        *,
        reason: Reason,
        detail: str,
        state: State = State.REJECTED,
        call_id: str = "",
    ) -> Performed:
        outcome = self.ledger.refuse(transfer_id, call_id=call_id, state=state, reason=reason, detail=detail)
        return Performed(outcome=outcome, note="")

    def _act(self, claim: Claim) -> TransferOutcome | None:
        received = self.clock.monotonic()

        def remaining_seconds() -> float:
            return claim.remaining_ms / 1000 - (self.clock.monotonic() - received)

        # 2. The rules, again: what is on the queue is not trusted.
        try:
            intent = TransferIntent.from_json(claim.intent_json)
            pipeline = self.policy.route(intent)
        except InvalidIntent as error:
            return self._end(
                claim, AttemptNote(state=State.REJECTED, reason=_reason_of(error), detail=str(error))
            )
        except NotPermitted as error:
            return self._end(
                claim, AttemptNote(state=State.REJECTED, reason=error.reason, detail=error.detail)
            )

        # 3. Attempts, until there is an outcome or the deadline is near.
        attempts = _Attempts(self, claim, pipeline, remaining_seconds)
        try:
            note = run_attempts(
                attempts.attempt,
                policy=self.retry,
                remaining_seconds=remaining_seconds,
                before_wait=attempts.schedule_retry,
                sleep=self.clock.sleep,
            )
        except NotCarriedOut as error:
            note = attempts.note_of(error, state=State.FAILED)
        except _RightLost as lost:
            return lost.outcome

        # 4. Settle. The audit line and the wake-up are part of the same step.
        return self._end(claim, note)

    def _end(self, claim: Claim, note: AttemptNote) -> TransferOutcome | None:
        settled = self.ledger.end_attempt(claim, note)
        return settled.outcome if isinstance(settled, Ended | Lost) else None


class _Attempts:
    """The attempts of one claim: what each does to the record, and what it found out."""

    def __init__(
        self,
        service: TransferService,
        claim: Claim,
        pipeline: list[dict[str, Any]],
        remaining_seconds: Callable[[], float],
    ) -> None:
        self._service, self._claim, self._pipeline = service, claim, pipeline
        self._remaining_seconds = remaining_seconds
        self._attempt_ms = 0

    def attempt(self, number: int) -> AttemptNote:
        """Begin, send, classify. Raises `NotCarriedOut` where another attempt is allowed."""
        service, claim = self._service, self._claim
        asked_at = service.clock.monotonic()
        begun = service.ledger.begin_attempt(claim, attempt=claim.attempts + number)
        if isinstance(begun, Lost):
            raise _RightLost(begun.outcome, begun.state)
        sent_at = service.clock.monotonic()
        try:
            answer = service.gateway.send(
                call_id=claim.call_id,
                pipeline=self._pipeline,
                idempotency_key=claim.idempotency_key,
                write_within_seconds=self._write_within_seconds(asked_at, begun.remaining_ms / 1000),
            )
        except OutcomeUnknown as error:
            self._attempt_ms = self._elapsed_ms(sent_at)
            return self.note_of(error, state=State.UNKNOWN)
        except Refused as error:
            self._attempt_ms = self._elapsed_ms(sent_at)
            return self.note_of(error, state=State.REJECTED)
        except NotCarriedOut:
            self._attempt_ms = self._elapsed_ms(sent_at)
            raise
        return AttemptNote(
            state=State.SUBMITTED,
            reason=Reason.ACCEPTED_BY_PLATFORM,
            http_status=answer.http_status,
            answer_json=json.dumps(answer.body),
            attempt_ms=self._elapsed_ms(sent_at),
        )

    def _write_within_seconds(self, asked_at: float, remaining_seconds: float) -> float:
        """What is left of the time in which a request may leave, measured from before the record said so."""
        spent = self._service.clock.monotonic() - asked_at
        return max(0.0, min(self._service.write_within_seconds, remaining_seconds) - spent)

    def _elapsed_ms(self, since: float) -> int:
        return round((self._service.clock.monotonic() - since) * 1000)

    def schedule_retry(self, wait: RetryWait) -> None:
        """Put the wait on record; give up if the right to act is gone."""
        note = replace(
            self.note_of(wait.error, state=State.CLAIMED),
            wait_ms=round(wait.wait_seconds * 1000),
            attempt=self._claim.attempts + wait.attempt,
        )
        seen = self._service.ledger.end_attempt(self._claim, note)
        if isinstance(seen, Ended):
            raise _RightLost(seen.outcome, seen.outcome.state)
        if isinstance(seen, Lost):
            raise _RightLost(seen.outcome, seen.state)

    def note_of(self, error: NotCarriedOut | Refused | OutcomeUnknown, *, state: State) -> AttemptNote:
        """Return what `error` puts on record."""
        return AttemptNote(
            state=state,
            reason=error.reason,
            http_status=error.http_status,
            detail=error.detail,
            answer_json="" if error.answer is None else json.dumps(error.answer),
            attempt_ms=self._attempt_ms,
        )


def _reason_of(error: InvalidIntent) -> Reason:
    if isinstance(error, UnsupportedSchemaVersion):
        return Reason.UNSUPPORTED_SCHEMA_VERSION
    return Reason.INVALID_INTENT


def _readable_call_id(asked: object) -> str:
    """Return the call id of an intent that is otherwise wrong, so that the refusal is found by it."""
    try:
        call_id = asked.get("call_id") if isinstance(asked, Mapping) else None
        return TransferIntent(call_id=call_id, destination="x").call_id
    except InvalidIntent:
        return ""
