"""The attempts of one claim: begin, send, say what is known; and what each does to the record."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transfer_tasks.ledger.verdicts import Ended, Lost
from transfer_tasks.outcome import Reason, State
from transfer_worker.delivery.ports import AttemptNote
from transfer_worker.errors import NotCarriedOut, OutcomeUnknown, Refused

if TYPE_CHECKING:
    from transfer_tasks.ledger.verdicts import Claim, Reading
    from transfer_tasks.outcome import TransferOutcome
    from transfer_worker.delivery.ports import Clock, Gateway, Ledger
    from transfer_worker.delivery.retry import RetryWait


class RightLost(Exception):
    """The right to act is gone; carries the outcome, if there is one."""

    def __init__(self, outcome: TransferOutcome | None, state: str) -> None:
        self.outcome, self.state = outcome, state


class Attempts:
    """The attempts of one claim: what each does to the record, and what it found out.

    Args:
        claim: The right to act.
        pipeline: What is sent.
        reading: What was read in the intent that `pipeline` was made of.
        asked_at: When the claim was asked for, or later if it has begun nothing; by `clock`.
        ledger: Where each attempt is put on record.
        gateway: Sends the request.
        clock: Measures what is left of the deadline.
        write_within_seconds: How long after the record said `sending` the first byte may leave.
    """

    def __init__(
        self,
        claim: Claim,
        pipeline: list[dict[str, Any]],
        *,
        reading: Reading,
        asked_at: float,
        ledger: Ledger,
        gateway: Gateway,
        clock: Clock,
        write_within_seconds: float,
    ) -> None:
        self._claim, self._pipeline, self._reading, self._asked_at = claim, pipeline, reading, asked_at
        self._ledger, self._gateway, self._clock = ledger, gateway, clock
        self._write_within_seconds = write_within_seconds
        self._attempt_ms = 0

    def remaining_seconds(self) -> float:
        """Return the time left until the deadline."""
        return self._claim.remaining_ms / 1000 - (self._clock.monotonic() - self._asked_at)

    def attempt(self, number: int) -> AttemptNote:
        """Begin, send, classify. Raises `NotCarriedOut` where another attempt is allowed."""
        claim = self._claim
        write_within_seconds = self._begin(number)
        sent_at = self._clock.monotonic()
        try:
            answer = self._gateway.send(
                call_id=self._reading.call_id,
                pipeline=self._pipeline,
                idempotency_key=claim.idempotency_key,
                write_within_seconds=write_within_seconds,
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

    def _begin(self, number: int) -> float:
        """Put an attempt on record, and return the seconds in which its request may leave.

        They count from before the record said so: whoever is held up longer may have been given up for dead.
        """
        asked_at, remaining_ms = self._asked_at, self._claim.remaining_ms
        if number > 1 or not self._claim.is_begun:
            asked_at = self._clock.monotonic()
            begun = self._ledger.begin_attempt(
                self._claim, attempt=self._claim.attempts + number, reading=self._reading
            )
            if isinstance(begun, Lost):
                raise RightLost(begun.outcome, begun.state)
            remaining_ms = begun.remaining_ms
        spent = self._clock.monotonic() - asked_at
        return max(0.0, min(self._write_within_seconds, remaining_ms / 1000) - spent)

    def _elapsed_ms(self, since: float) -> int:
        return round((self._clock.monotonic() - since) * 1000)

    def schedule_retry(self, wait: RetryWait) -> None:
        """Put the wait on record; give up if the right to act is gone."""
        note = replace(
            self.note_of(wait.error, state=State.CLAIMED),
            wait_ms=round(wait.wait_seconds * 1000),
            attempt=self._claim.attempts + wait.attempt,
        )
        seen = self._ledger.end_attempt(self._claim, note)
        if isinstance(seen, Ended):
            raise RightLost(seen.outcome, seen.outcome.state)
        if isinstance(seen, Lost):
            raise RightLost(seen.outcome, seen.state)

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
