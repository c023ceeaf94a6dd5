"""Fakes of what `TransferService` is handed: a ledger in memory, a gateway with a script, a clock.

They follow the rules of the real ones as far as one worker can see them:
`tests/integration/ledger/test_fake.py` runs the same steps through this ledger and the one on Redis.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.errors import LedgerUnavailable
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
    describe_conflict,
)
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.signature import NOTHING_WRITTEN, Written
from transfer_worker.delivery.ports import PlatformAnswer
from transfer_worker.errors import AttemptError, NotCarriedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transfer_tasks.intent import TransferIntent
    from transfer_worker.delivery.message import Request
    from transfer_worker.delivery.ports import AttemptNote
    from transfer_worker.delivery.refusal import Refusal

QUEUED: Final = PlatformAnswer(http_status=200, body={"message": "queued"})


@dataclass(slots=True)
class FakeClock:
    """Stands still unless somebody sleeps, or a test moves it.

    Attributes:
        now: Seconds since the beginning.
        slept: Every wait that was asked for.
    """

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.slept.append(seconds)
        self.now += seconds


@dataclass(slots=True)
class FakeRecord:
    """One transfer as `FakeLedger` keeps it."""

    intent: TransferIntent | None
    written: Written = NOTHING_WRITTEN
    content_digest: str = ""
    state: State = State.WAITING
    token: int = 0
    holder: str = ""
    attempts: int = 0
    expires_at: float = 0.0
    outcome: TransferOutcome | None = None
    notes: list[AttemptNote] = field(default_factory=list)


class FakeLedger:
    """The steps of one worker, in memory.

    Args:
        clock: Decides about deadlines.

    Attributes:
        records: All transfers, by id.
        before_step: Called with the name of each step before it; what it raises comes out of the step, and
            what it does to the records has happened first. A test's way to be another worker or a session.
        sent_after_ms: What is known of the age of a message that brings its intent; None for "just sent".
    """

    def __init__(self, clock: FakeClock) -> None:
        self.records: dict[str, FakeRecord] = {}
        self.before_step: Callable[[str], None] = lambda _: None
        self.sent_after_ms: int | None = None
        self._sights: dict[str, int] = {}
        self._clock, self._started = clock, clock.now

    def add(
        self,
        intent: TransferIntent,
        *,
        remaining_seconds: float = 15.0,
        written: Written | None = None,
    ) -> FakeRecord:
        """Put a transfer on record, as a publisher does."""
        written = written or Written(intent.to_json())
        record = FakeRecord(
            intent,
            written,
            content_digest=intent.content_digest(),
            expires_at=self._clock.now + remaining_seconds,
        )
        self.records[intent.transfer_id] = record
        return record

    def fail(self, step: str) -> None:
        """Raise what a step raises without Redis."""
        raise LedgerUnavailable(f"{step}: away")

    def end(self, transfer_id: str, state: State, reason: Reason, **fields: Any) -> TransferOutcome:
        """Write an ending, whoever's it is."""
        record = self.records[transfer_id]
        record.state = state
        call_id = record.intent.call_id if record.intent else fields.pop("call_id", "")
        record.outcome = TransferOutcome(
            transfer_id=transfer_id,
            call_id=call_id,
            state=state,
            reason=reason,
            attempts=record.attempts,
            **fields,
        )
        return record.outcome

    def claim(self, transfer_id: str, *, routed: Reading | None = None) -> Claim | Ended | Open | Missing:
        """Take the right to act; begin the attempt in the same step, if `routed` is its intent."""
        self.before_step("claim")
        record = self.records.get(transfer_id)
        if record is None:
            return Missing()
        if record.outcome is not None:
            return Ended(record.outcome)
        if record.state is not State.WAITING or record.intent is None:
            return Open(record.state, worker=record.holder)
        if self._clock.now >= record.expires_at:
            return Ended(self._end_late(transfer_id, record))
        record.state, record.holder, record.token = State.CLAIMED, "this worker", record.token + 1
        attempts, is_begun = record.attempts, routed is not None and routed.intent_json == record.written.text
        if is_begun:
            record.state, record.attempts = State.SENDING, attempts + 1
        return Claim(
            transfer_id=transfer_id,
            token=str(record.token),
            call_id=record.intent.call_id,
            idempotency_key=record.intent.idempotency_key or f"{record.intent.call_id}:1",
            hop=1,
            attempts=attempts,
            remaining_ms=self._remaining_ms(record),
            intent_json=record.written.text,
            signature=record.written.signature,
            is_begun=is_begun,
        )

    @property
    def now_ms(self) -> int:
        """Redis's time: the real one, and what has passed by the clock besides."""
        return round((time.time() + self._clock.now - self._started) * 1000)

    def see(self, request: Request) -> Sight:
        """Keep what is known of a message's age, when it is seen first."""
        self.before_step("see")
        known = self.now_ms if self.sent_after_ms is None else self.sent_after_ms
        if not request.counts_from_sending:
            return Sight(now_ms=self.now_ms, sent_after_ms=0)
        known = self._sights.setdefault(request.transfer_id, 0 if request.is_moved else known)
        return Sight(now_ms=self.now_ms, sent_after_ms=known)

    def accept(self, intent: TransferIntent, *, written: Written | None = None) -> Accepted:
        """Accept an intent that came with its message; its deadline is by Redis's clock."""
        self.before_step("accept")
        verdict, transfer_id = "accepted", intent.transfer_id
        if transfer_id in self.records:
            is_same = self.records[transfer_id].content_digest == intent.content_digest()
            verdict = "existing" if is_same else "conflict"
        else:
            for other_id, other in self.records.items():
                if other.intent is None:
                    continue
                if intent.idempotency_key and intent.idempotency_key == other.intent.idempotency_key:
                    is_same = intent.content_digest() == other.content_digest
                    verdict, transfer_id = "repeat" if is_same else "conflict", other_id
                    break
                if intent.call_id == other.intent.call_id and other.state in _IN_THE_WAY:
                    is_same = intent.destination_digest() == other.intent.destination_digest()
                    if is_same or other.state is not State.SUBMITTED:
                        verdict, transfer_id = "repeat" if is_same else "in_progress", other_id
            if verdict == "accepted":
                left_ms = intent.expires_at.timestamp() * 1000 - self.now_ms
                self.add(intent, remaining_seconds=left_ms / 1000, written=written)
        state = self.records[transfer_id].state
        return Accepted(verdict, transfer_id, f"{intent.call_id}:1", 1, state, self.now_ms)

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
        self.before_step("refuse")
        if found := self.records.get(transfer_id):
            if content_digest not in {"", found.content_digest}:
                return describe_conflict(transfer_id, call_id=call_id)
            return found.outcome
        self.records[transfer_id] = FakeRecord(None, content_digest=content_digest)
        return self.end(transfer_id, state, reason, detail=detail, call_id=call_id)

    def refuse_all(self, refusals: Sequence[tuple[str, Refusal]]) -> list[bool]:
        """Refuse many at once."""
        return [self._refuse_one(transfer_id, of) for transfer_id, of in refusals]

    def _refuse_one(self, transfer_id: str, of: Refusal) -> bool:
        if not of.judged:
            fields = {"call_id": of.call_id, "detail": of.detail, "content_digest": of.content_digest}
            return self.refuse(transfer_id, state=State.REJECTED, reason=of.reason, **fields) is not None
        self.before_step("forbid")
        record = self.records.get(transfer_id)
        if record is None or record.state is not State.WAITING or record.written.text != of.judged:
            return False
        self.end(transfer_id, State.REJECTED, of.reason, detail=of.detail)
        return True

    def cancel(self, transfer_id: str, *, detail: str) -> Ended | Open | Missing:
        """Withdraw what has not been sent."""
        self.before_step("cancel")
        record = self.records.get(transfer_id)
        if record is None:
            return Missing()
        if record.outcome is not None:
            return Ended(record.outcome)
        if record.state is State.SENDING:
            return Open(record.state)
        return Ended(self.end(transfer_id, State.CANCELLED, Reason.CANCELLED_BY_OPERATOR, detail=detail))

    def begin_attempt(self, claim: Claim, *, attempt: int, reading: Reading | None = None) -> Begun | Lost:
        """Record an attempt before its request goes out."""
        self.before_step("begin_attempt")
        record = self.records[claim.transfer_id]
        if record.state is not State.CLAIMED or claim.token != str(record.token):
            return Lost(record.state, record.outcome)
        if self._clock.now >= record.expires_at:
            outcome = self._end_late(claim.transfer_id, record)
            return Lost(outcome.state, outcome)
        if attempt != record.attempts + 1:
            raise AssertionError(f"attempt {attempt} after {record.attempts}")
        record.state, record.attempts = State.SENDING, attempt
        return Begun(self._remaining_ms(record))

    def end_attempt(self, claim: Claim, note: AttemptNote) -> Ended | TryAgain | Lost:
        """Record what an attempt taught us."""
        self.before_step("end_attempt")
        record = self.records[claim.transfer_id]
        if record.outcome is not None or claim.token != str(record.token):
            return Lost(record.state, record.outcome)
        if note.reason is Reason.TRANSFER_IN_PROGRESS and any(n.reason not in _UNSENT for n in record.notes):
            note = replace(note, state=State.UNKNOWN, reason=Reason.IN_PROGRESS_AFTER_ATTEMPT)
        record.notes.append(note)
        if note.state is State.CLAIMED:
            record.state = State.CLAIMED
            return TryAgain()
        return Ended(
            self.end(
                claim.transfer_id, note.state, note.reason, http_status=note.http_status, detail=note.detail
            )
        )

    def _remaining_ms(self, record: FakeRecord) -> int:
        return round((record.expires_at - self._clock.now) * 1000)

    def _end_late(self, transfer_id: str, record: FakeRecord) -> TransferOutcome:
        if not record.attempts:
            return self.end(transfer_id, State.EXPIRED, Reason.DEADLINE_PASSED)
        last = record.notes[-1]
        return self.end(
            transfer_id, State.FAILED, last.reason, http_status=last.http_status, detail=last.detail
        )


_UNSENT: Final = frozenset({Reason.PLATFORM_UNREACHABLE, Reason.NOT_SENT})
_IN_THE_WAY: Final = frozenset({State.WAITING, State.CLAIMED, State.SENDING, State.UNKNOWN, State.SUBMITTED})


@dataclass(slots=True)
class FakeGateway:
    """Answers as its script says, one ending for each request; the last one stays.

    Attributes:
        endings: What each request ends in: an answer that is returned, or an error that is raised.
        takes_seconds: How long each request takes.
        sent: What went out; a request that was held up too long did not.
    """

    clock: FakeClock
    endings: list[PlatformAnswer | AttemptError] = field(default_factory=lambda: [QUEUED])
    takes_seconds: float = 0.0
    sent: list[dict[str, Any]] = field(default_factory=list)

    def send(
        self,
        *,
        call_id: str,
        pipeline: list[dict[str, Any]],
        idempotency_key: str,
        write_within_seconds: float | None = None,
    ) -> PlatformAnswer:
        """Send one request, unless it is too late for it."""
        if write_within_seconds is not None and write_within_seconds <= 0:
            raise NotCarriedOut(reason=Reason.NOT_SENT)
        self.sent.append({"call_id": call_id, "pipeline": pipeline, "idempotency_key": idempotency_key})
        self.clock.now += self.takes_seconds
        ending = self.endings[min(len(self.sent), len(self.endings)) - 1]
        if isinstance(ending, AttemptError):
            raise ending
        return ending
