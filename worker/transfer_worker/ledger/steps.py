"""The ledger as one worker uses it: with its own name, and with patience while Redis is away.

Patience is safe because every step is: repeated by the same claim, it does nothing twice. An answer of the
platform is kept in memory meanwhile, and settled when Redis is back.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, TypeVar

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.acceptance import build_accept
from transfer_worker.audit.outbox import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.script import Command
    from transfer_tasks.ledger.verdicts import (
        Accepted,
        Begun,
        Claim,
        Ended,
        Lost,
        Missing,
        Open,
        Reading,
        Sight,
        TryAgain,
    )
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.signature import Written
    from transfer_worker.delivery.message import Request
    from transfer_worker.delivery.ports import AttemptNote
    from transfer_worker.delivery.refusal import Refusal

T = TypeVar("T")
log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1

CLAIM_PATIENCE_SECONDS = 10.0
"""Shorter than the visibility timeout, after which the message comes again by itself."""

REVOKED_THROUGH_CELERY = "revoked through Celery"

QUARANTINED_BYTES = 4096
QUARANTINED_ENTRIES = 1000


class LedgerSteps:
    """The steps of one worker process; threads share it.

    Args:
        ledger: The ledger.
        worker: The worker's id, as in its heartbeat.
        queue: The Celery queue that recovery pushes to.
        repeat_window_seconds: See `PublisherSettings`; for intents that come with their message.
        settle_patience_seconds: How long an answer is kept in memory while Redis is away.
        keep_lease: Called before each step that begins something; makes sure that others know we live.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        worker: str,
        queue: str,
        repeat_window_seconds: float,
        settle_patience_seconds: float,
        keep_lease: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger, self._worker, self._queue = ledger, worker, queue
        self._repeat_window_seconds = repeat_window_seconds
        self._settle_patience_seconds = settle_patience_seconds
        self._keep_lease = keep_lease

    def claim(self, transfer_id: str, *, routed: Reading | None = None) -> Claim | Ended | Open | Missing:
        """Take the right to act; begin the attempt in the same step, if `routed` is of the intent on record.

        Patient: if only the answer was lost, this living worker holds a claim that it does not know of, and
        nobody would act before the deadline.
        """
        command = self._ledger.commands.claim(
            transfer_id, worker=self._worker, claim_id=uuid.uuid4().hex, routed=routed
        )
        return self._persist(command, CLAIM_PATIENCE_SECONDS, needs_lease=True)

    def accept(self, intent: TransferIntent, *, written: Written | None = None) -> Accepted:
        """Accept an intent that came with its message. Ours is kept for recovery, and not pushed now.

        The intent's deadline is by Redis's clock.

        Patient: the message is all there is of it.
        """
        command = build_accept(
            self._ledger.commands,
            intent,
            queue=self._queue,
            is_queued=True,
            repeat_window_seconds=self._repeat_window_seconds,
            written=written,
        )
        return self._persist(command, CLAIM_PATIENCE_SECONDS)

    def see(self, request: Request) -> Sight:
        """Keep what is known of a message's age, when it is seen first."""
        command = self._ledger.commands.sight(
            request.transfer_id,
            is_needed=request.counts_from_sending,
            is_moved=request.is_moved,
            empty_ms=request.empty_ms,
            after=request.after,
        )
        return self._persist(command, CLAIM_PATIENCE_SECONDS)

    def refuse(
        self,
        transfer_id: str,
        *,
        call_id: str,
        state: State,
        reason: Reason,
        detail: str,
        content_digest: str = "",
    ) -> TransferOutcome | None:
        """Give a message that can't become a transfer its one outcome."""
        command = self._ledger.commands.refuse(
            transfer_id,
            call_id=call_id,
            state=state,
            reason=reason,
            detail=detail,
            content_digest=content_digest,
        )
        ended = self._persist(command, CLAIM_PATIENCE_SECONDS)
        return ended.outcome if ended else None

    def refuse_all(self, refusals: Sequence[tuple[str, Refusal]]) -> list[bool]:
        """Refuse many at once. Not patient: what is missed here is carried out, and ends with that."""
        commands = self._ledger.commands
        ended = self._ledger.run_all(
            [
                commands.forbid(transfer_id, judged=of.judged, reason=of.reason, detail=of.detail)
                if of.judged
                else commands.refuse(
                    transfer_id,
                    call_id=of.call_id,
                    state=State.REJECTED,
                    reason=of.reason,
                    detail=of.detail,
                    content_digest=of.content_digest,
                )
                for transfer_id, of in refusals
            ]
        )
        return [one is not None for one in ended]

    def cancel(self, transfer_id: str, *, detail: str) -> Ended | Open | Missing:
        """Withdraw what has not been sent, in an operator's name."""
        command = self._ledger.commands.cancel(
            transfer_id, reason=Reason.CANCELLED_BY_OPERATOR, source="operator", detail=detail
        )
        _, seen = self._persist(command, CLAIM_PATIENCE_SECONDS)
        return seen

    def withdraw(self, transfer_id: str) -> None:
        """Withdraw at once, if it has not been sent, what somebody has revoked by remote control.

        Not patient: this is the thread that reads the queue. What is missed here ends with its next delivery.
        """
        command = self._ledger.commands.cancel(
            transfer_id, reason=Reason.CANCELLED_BY_OPERATOR, source="operator", detail=REVOKED_THROUGH_CELERY
        )
        try:
            self._ledger.run(command)
        except LedgerUnavailable as error:
            log.warning("%s was revoked and can't be withdrawn at once: %s", transfer_id, error.cause)

    def note_command(self, is_obeyed: bool, command: str, detail: str) -> None:
        """Write down what remote control has asked for besides a look. Not patient, as `withdraw`."""
        told = "obeyed" if is_obeyed else "refused"
        log.warning("remote control: %s was %s", command, told)
        try:
            self._ledger.run(
                self._ledger.commands.note_command(
                    command, worker=self._worker, is_obeyed=is_obeyed, detail=detail
                )
            )
        except LedgerUnavailable as error:
            log.warning("the audit log does not have it: %s", error.cause)

    def begin_attempt(self, claim: Claim, *, attempt: int, reading: Reading | None = None) -> Begun | Lost:
        """Record an attempt. Patient until the deadline: past it, nothing may be sent anyway."""
        command = self._ledger.commands.begin_attempt(claim, attempt=attempt, reading=reading)
        return self._persist(command, claim.remaining_ms / 1000, needs_lease=True)

    def end_attempt(self, claim: Claim, note: AttemptNote) -> Ended | TryAgain | Lost:
        """Record what an attempt taught us. Patient: the platform's answer exists only here."""
        command = self._ledger.commands.end_attempt(
            claim,
            state=note.state,
            reason=note.reason,
            http_status=note.http_status,
            detail=note.detail,
            answer_json=note.answer_json,
            attempt_ms=note.attempt_ms,
            wait_ms=note.wait_ms,
            attempt=note.attempt,
        )
        return self._persist(command, self._settle_patience_seconds)

    def quarantine(self, element: bytes, why: str, task_id: str) -> None:
        """Keep a queue message that can't be served, and give its id, if it has one, an outcome.

        Where the id has an open record, only the notification is broken: recovery sends a new one.
        """
        text = element[:QUARANTINED_BYTES].decode("utf-8", "backslashreplace")
        command = self._ledger.commands.quarantine(
            transfer_id=task_id,
            why=why,
            element=text,
            size_bytes=len(element),
            max_entries=QUARANTINED_ENTRIES,
        )
        try:
            self._ledger.run(command)
            if task_id:
                # Not patient: this is the thread that reads the queue.
                self._ledger.run(
                    self._ledger.commands.refuse(
                        task_id,
                        call_id="",
                        state=State.REJECTED,
                        reason=Reason.INVALID_INTENT,
                        detail=f"the message can't be read: {why}",
                    )
                )
        except LedgerUnavailable as error:
            log.error(  # noqa: TRY400 - the element is lost; a trace would not bring it back
                "poison was dropped: %s (%d bytes, task id %r); the quarantine can't be reached: %s",
                why,
                len(element),
                task_id,
                error.cause,
            )

    def set_line_aside(self, entry_id: str, fields: Mapping[str, str], why: str) -> None:
        """Keep an entry of the audit outbox that can't be read, and acknowledge it, in one step.

        Raises:
            LedgerUnavailable: Redis did not answer in time.
        """
        text = json.dumps(fields)
        self._ledger.run(
            self._ledger.commands.quarantine(
                transfer_id="",
                why=f"an audit line that can't be read: {why}",
                element=text[:QUARANTINED_BYTES],
                size_bytes=len(text),
                max_entries=QUARANTINED_ENTRIES,
                audit_group=GROUP,
                audit_entry=entry_id,
            )
        )

    def _persist(self, command: Command[T], patience_seconds: float, *, needs_lease: bool = False) -> T:
        give_up_at = time.monotonic() + patience_seconds
        while True:
            try:
                if needs_lease:
                    self._keep_lease()
                return self._ledger.run(command)
            except LedgerUnavailable:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(PAUSE_SECONDS)
