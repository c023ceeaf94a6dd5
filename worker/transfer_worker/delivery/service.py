"""The transfer service: what happens to one message, from its delivery to the outcome.

Knows no Celery, no Redis and no piopiy: the ledger, the gateway, the rules, the retries and the clock are
handed to it. It reads from top to bottom; each step ends the message or goes to a step further down:

    perform ─┬─ Notification ─ claim ───────────────┬─ begun ─────────────────┐
             └─ Request ─ _admit ─ accept ─ claim ──┴─ _carry_out (the rules) ─┴─ _attempt ─ _end
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.ledger.verdicts import (
    Accepted,
    Claim,
    Ended,
    Lost,
    Missing,
    Open,
    describe_conflict,
)
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.publisher.acceptance import with_deadline
from transfer_worker.delivery.attempts import Attempts, RightLost
from transfer_worker.delivery.message import MAX_ETA_MS, Notification, Request
from transfer_worker.delivery.ports import AttemptNote, Clock, Gateway, Ledger, Policy
from transfer_worker.delivery.refusal import (
    Door,
    Refusal,
    detail_of,
    judge_missing,
    judge_request,
    reason_of,
)
from transfer_worker.delivery.retry import RetryPolicy, run_attempts
from transfer_worker.delivery.route import Route, read_route
from transfer_worker.errors import NotCarriedOut, NotPermitted

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.verdicts import Reading


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
        door: Counts refusals, and refuses by itself while there are many.
        write_within_seconds: How long after the record said `sending` the first byte may leave. A worker that
            was held up longer does not send: others may have given it up for dead meanwhile.
    """

    ledger: Ledger
    gateway: Gateway
    policy: Policy
    clock: Clock
    retry: RetryPolicy
    write_within_seconds: float
    door: Door

    def perform(self, message: Notification | Request) -> Performed:
        """Do what one message asks for.

        Raises:
            LedgerUnavailable: The ledger could not be used, so nothing was sent. Recovery notifies again.
        """
        match message:
            case Notification():
                return self._serve_notification(message)
            case Request():
                return self._serve_request(message)

    def _serve_notification(self, notification: Notification) -> Performed:
        """Claim what is on record; where the copy passes the rules, the claim begins the attempt, too."""
        route = None if notification.is_revoked else self._route_ahead(notification)
        asked_at = self.clock.monotonic()
        found = self._take(
            notification.transfer_id,
            is_revoked=notification.is_revoked,
            reading=route.reading if route else None,
        )
        if route and isinstance(found, Claim) and found.is_begun:
            return self._attempt(found, route, asked_at)
        return self._miss(notification) if isinstance(found, Missing) else self._serve(found)

    def _take(
        self, transfer_id: str, *, is_revoked: bool, reading: Reading | None = None
    ) -> Claim | Ended | Open | Missing:
        """Claim a transfer; withdraw it where an operator has revoked it by Celery's means."""
        if is_revoked:
            return self.ledger.cancel(transfer_id, detail="revoked through Celery")
        return self.ledger.claim(transfer_id, routed=reading)

    def _miss(self, notification: Notification) -> Performed:
        """End what is not on record: what somebody has asked for is lost, and what became of it unknown."""
        judged = judge_missing(notification, self.policy)
        if isinstance(judged, Refusal):
            return self._turn_away(notification.transfer_id, judged)
        return self._lose(judged)

    def _lose(self, intent: TransferIntent) -> Performed:
        lost = Refusal(reason=Reason.RECORD_MISSING, detail="no record", call_id=intent.call_id)
        return self._turn_away(intent.transfer_id, lost, state=State.UNKNOWN)

    def _route_ahead(self, notification: Notification) -> Route | None:
        if not notification.copy.text:
            return None
        try:
            return read_route(notification.copy, self.policy, transfer_id=notification.transfer_id)
        except (InvalidIntent, NotPermitted):
            return None  # the record decides, and keeps the reason

    def _serve_request(self, request: Request) -> Performed:
        """Accept what the message brought along, unless a delivery before this one has; then claim it.

        What is asked is read first: an id stands for one content, whatever has become of it.
        """
        intent = judge_request(request, self.policy)
        if isinstance(intent, Refusal):
            return self._turn_away(request.transfer_id, intent)
        try:
            deadline_ms = self._admit(request, intent)
        except (InvalidIntent, NotPermitted) as error:
            return self._turn_away(intent.transfer_id, Refusal.of(error, intent))
        written = request.written if request.signature else None
        accepted = self.ledger.accept(with_deadline(intent, deadline_ms), written=written)
        match accepted.verdict:
            case "accepted" | "existing":
                found = self._take(intent.transfer_id, is_revoked=request.is_revoked)
                return self._lose(intent) if isinstance(found, Missing) else self._serve(found)
            case "repeat":
                return self._follow(accepted)
            case "conflict" if accepted.transfer_id == intent.transfer_id:
                outcome = describe_conflict(intent.transfer_id, call_id=intent.call_id)
                return Performed(outcome=outcome, note="")
            case verdict:
                reason = Reason.IDEMPOTENCY_CONFLICT if verdict == "conflict" else Reason.TRANSFER_IN_PROGRESS
                other = f"transfer {accepted.transfer_id} is {accepted.state}"
                in_its_way = NotPermitted(reason=reason, detail=other)
                return self._turn_away(intent.transfer_id, Refusal.of(in_its_way, intent))

    def _admit(self, request: Request, intent: TransferIntent) -> int:
        """Return the deadline, by Redis's clock, once the request may be carried out.

        Raises:
            InvalidIntent: A header of Celery's can't be read.
            NotPermitted: It asks for what is not done here, or nothing tells how long it may be carried out.
        """
        eta_ms = request.read_eta_ms()
        request.read_expires_ms()
        if request.canvas:
            raise NotPermitted(reason=Reason.CANVAS_NOT_SUPPORTED, detail=", ".join(request.canvas))
        sight, asked_at = self.ledger.see(request), self.clock.monotonic()
        wait_ms = max(0, eta_ms - sight.now_ms) if eta_ms is not None else 0
        if wait_ms > MAX_ETA_MS:
            raise NotPermitted(
                reason=Reason.ETA_NOT_SUPPORTED, detail=f"eta: at most {MAX_ETA_MS // 1000} s ahead"
            )
        deadline_ms = request.find_deadline_ms(intent, now_ms=sight.now_ms, sent_after_ms=sight.sent_after_ms)
        if deadline_ms is None:
            raise NotPermitted(
                reason=Reason.DEADLINE_UNKNOWN, detail="neither expires, nor expires_at, nor a known age"
            )
        if (left := wait_ms / 1000 - (self.clock.monotonic() - asked_at)) > 0:
            self.clock.sleep(left)
        return deadline_ms

    def _follow(self, accepted: Accepted) -> Performed:
        """Return the outcome of the earlier request that this one repeats, if there is one yet."""
        first = self.ledger.claim(accepted.transfer_id) if not accepted.state.is_open else None
        return Performed(
            outcome=first.outcome if isinstance(first, Ended) else None,
            note=f"repeat of {accepted.transfer_id} ({accepted.state})",
            is_repeat=True,
        )

    def _serve(self, found: Claim | Ended | Open) -> Performed:
        """Carry out what is ours to carry out; say what became, or becomes, of everything else."""
        match found:
            case Ended(outcome):
                return Performed(outcome=outcome, note="had ended before")
            case Open(state=state, worker=worker):
                return Performed(outcome=None, note=f"{state} by {worker or 'another worker'}")
            case Claim():
                return self._carry_out(found)

    def _carry_out(self, claim: Claim) -> Performed:
        """Ask the rules, again: what is on the queue is not trusted. Then make the attempts."""
        asked_at = self.clock.monotonic()
        try:
            route = read_route(claim.written, self.policy, transfer_id=claim.transfer_id)
        except (InvalidIntent, NotPermitted) as error:
            self.door.note_refusal()
            return self._end(
                claim, AttemptNote(state=State.REJECTED, reason=reason_of(error), detail=detail_of(error))
            )
        return self._attempt(claim, route, asked_at)

    def _attempt(self, claim: Claim, route: Route, asked_at: float) -> Performed:
        """Make attempts until there is an outcome or the deadline is near, and settle."""
        attempts = Attempts(
            claim,
            route.pipeline,
            reading=route.reading,
            asked_at=asked_at,
            ledger=self.ledger,
            gateway=self.gateway,
            clock=self.clock,
            write_within_seconds=self.write_within_seconds,
        )
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
            return Performed(outcome=lost.outcome, note="")
        return self._end(claim, note)

    def _end(self, claim: Claim, note: AttemptNote) -> Performed:
        """Settle; the audit line and the wake-up are part of the same step."""
        settled = self.ledger.end_attempt(claim, note)
        return Performed(outcome=settled.outcome if isinstance(settled, Ended | Lost) else None, note="")

    def _turn_away(self, transfer_id: str, refusal: Refusal, *, state: State = State.REJECTED) -> Performed:
        if state is State.REJECTED:
            self.door.note_refusal()
        return Performed(outcome=self.door.refuse(transfer_id, refusal, state=state), note="")
