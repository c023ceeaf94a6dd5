"""The heart: what happens to one intent, from the bell to the outcome.

Knows no Celery, no Redis and no piopiy: the ledger, the gateway, the rules, the retries and the clock are
handed to it. Each numbered step is entered once; only the attempts loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transfer_tasks.errors import InvalidIntent, UnsupportedSchemaVersion
from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.verdicts import Claim, Ended, Lost, Missing, Open
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_worker.delivery.attempts import Attempts, RightLost
from transfer_worker.delivery.ports import AttemptNote, Clock, Gateway, Ledger, Policy
from transfer_worker.delivery.retry import RetryPolicy, run_attempts
from transfer_worker.errors import NotCarriedOut, NotPermitted


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

    def perform(self, transfer_id: str, asked: object = None, *, copy: str = "") -> Performed:
        """Do what one message asks for.

        Args:
            transfer_id: The transfer to look at.
            asked: The intent, if it came with the message (from plain Celery) instead of being on record. It
                can be anything that JSON can say.
            copy: The intent as the message has it, as JSON. Nothing rests on it: it lets the rules be asked
                first, so that the claim can begin the attempt, too, where the record says the same.

        Raises:
            LedgerUnavailable: The ledger could not be used, so nothing was sent. Recovery rings again.
        """
        # 1. The right to act; accepted first, if the message brought the intent along.
        routed = self._route_ahead(copy)
        asked_at = self.clock.monotonic()
        seen = self.ledger.claim(transfer_id, routed=copy if routed else "")
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
            case Claim(is_begun=True) if routed:
                return Performed(outcome=self._attempt(seen, routed, asked_at), note="")
            case Claim():
                return Performed(outcome=self._act(seen), note="")

    def _route_ahead(self, copy: str) -> list[dict[str, Any]] | None:
        try:
            return self.policy.route(TransferIntent.from_json(copy)) if copy else None
        except (InvalidIntent, NotPermitted):
            return None  # the record decides, and keeps the reason

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
        asked_at = self.clock.monotonic()
        # 2. The rules, again: what is on the queue is not trusted.
        try:
            pipeline = self.policy.route(TransferIntent.from_json(claim.intent_json))
        except InvalidIntent as error:
            return self._end(
                claim, AttemptNote(state=State.REJECTED, reason=_reason_of(error), detail=str(error))
            )
        except NotPermitted as error:
            return self._end(
                claim, AttemptNote(state=State.REJECTED, reason=error.reason, detail=error.detail)
            )
        return self._attempt(claim, pipeline, asked_at)

    def _attempt(
        self, claim: Claim, pipeline: list[dict[str, Any]], asked_at: float
    ) -> TransferOutcome | None:
        # 3. Attempts, until there is an outcome or the deadline is near.
        attempts = Attempts(self, claim, pipeline, asked_at)
        try:
            note = run_attempts(
                attempts.attempt,
                policy=self.retry,
                remaining_seconds=attempts.remaining_seconds,
                before_wait=attempts.schedule_retry,
                sleep=self.clock.sleep,
            )
        except NotCarriedOut as error:
            note = attempts.note_of(error, state=State.FAILED)
        except RightLost as lost:
            return lost.outcome

        # 4. Settle. The audit line and the wake-up are part of the same step.
        return self._end(claim, note)

    def _end(self, claim: Claim, note: AttemptNote) -> TransferOutcome | None:
        settled = self.ledger.end_attempt(claim, note)
        return settled.outcome if isinstance(settled, Ended | Lost) else None


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
