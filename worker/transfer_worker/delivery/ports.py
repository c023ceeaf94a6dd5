"""What the transfer service needs of others, as it needs it: a ledger, a gateway, rules and a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transfer_tasks.intent import TransferIntent
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
    from transfer_tasks.outcome import Reason, State, TransferOutcome
    from transfer_tasks.signature import Key, Written
    from transfer_worker.delivery.message import Request
    from transfer_worker.delivery.refusal import Refusal


class Ledger(Protocol):
    """The steps of the record that one transfer needs. Each is safe to repeat."""

    def claim(self, transfer_id: str, *, routed: Reading | None = None) -> Claim | Ended | Open | Missing:
        """Take the right to act; begin the attempt in the same step, if `routed` is of the intent on record.

        Where it differs from what the record says besides the intent, the transfer ends.
        """

    def see(self, request: Request) -> Sight:
        """Keep what is known of the age of a message that brings its intent, when it is seen first."""

    def accept(self, intent: TransferIntent, *, written: Written | None = None) -> Accepted:
        """Accept an intent that came with its message, under the same rules as a published one.

        Its deadline is a point in time by Redis's clock. `written` is kept as it is, where it is signed.
        """

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
        """Give a message that can't become a transfer its one outcome; None where its transfer is open.

        Where a record of the same id has another digest, the outcome is this message's alone, on no record.
        """

    def refuse_all(self, refusals: Sequence[tuple[str, Refusal]]) -> list[bool]:
        """Refuse many transfers at once; say of each whether it has ended.

        Where an intent on record was judged, only what still waits with that intent ends.
        """

    def cancel(self, transfer_id: str, *, detail: str) -> Ended | Open | Missing:
        """Withdraw what has not been sent, in an operator's name."""

    def begin_attempt(self, claim: Claim, *, attempt: int, reading: Reading) -> Begun | Lost:
        """Record an attempt before its request goes out, unless the record differs from the intent."""

    def end_attempt(self, claim: Claim, note: AttemptNote) -> Ended | TryAgain | Lost:
        """Record what an attempt taught us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformAnswer:
    """The platform accepted the request.

    Attributes:
        http_status: The 2xx status.
        body: The whole answer as a JSON value; the beginning of its text where that can't be kept (it is
            over 8 KiB, or Python can't write it again as JSON).
    """

    http_status: int
    body: Any


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
    """Who may ask, and where a call may go."""

    def identify(self, written: Written) -> Key | None:
        """Return the key that has signed, or raise `NotPermitted`; None where nothing need be signed."""

    def route(self, intent: TransferIntent, *, key: Key | None = None) -> list[dict[str, Any]]:
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
