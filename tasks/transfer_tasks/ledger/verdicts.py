"""What the ledger's steps reply."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.signature import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.connection import Connection


class Accepted(NamedTuple):
    """The reply of `accept`: see scripts/accept.lua for the verdicts."""

    verdict: str
    transfer_id: str
    idempotency_key: str
    hop: int
    state: State
    now_ms: int


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act on one transfer. Every later step shows the token.

    Attributes:
        attempts: Those made before this claim.
        is_begun: Whether the next attempt is on record already, so that its request may go out.
    """

    transfer_id: str
    token: str
    call_id: str
    idempotency_key: str
    hop: int
    attempts: int
    remaining_ms: int
    intent_json: str
    is_begun: bool = False
    signature: str = ""

    @property
    def written(self) -> Written:
        """What is asked, as it was signed."""
        return Written(self.intent_json, self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The right to ask the platform how a request went.

    Attributes:
        call_id: Whose call it is about.
        number: Which question about this request it is, from 1.
    """

    request_id: str
    call_id: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWebhook:
    """What is known of a webhook's conversation.

    Attributes:
        call_id: Which call it is; empty where nobody knows yet.
        kept: Bodies of other webhooks that came before that was known.
    """

    call_id: str
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a worker has read in an intent itself. It stands over whatever a record says besides the intent.

    Attributes:
        intent_json: The intent's text.
        call_id: The call that it is about.
        labels: What may be shown of its destination; the name in it is what pauses and statistics go by.
        signer: The id of the key that has signed the text; empty where no signature is asked for.
        signed_ms: The deadline in the signed text, by Redis's clock. None where nothing vouches for it: the
            record's counts alone, as a publisher may have written the other one by a clock of its own.
    """

    intent_json: str
    call_id: str
    labels: Mapping[str, str]
    signer: str = ""
    signed_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The transfer has ended."""

    outcome: TransferOutcome


@dataclass(frozen=True, slots=True)
class Open:
    """The transfer is open, and the step that was asked for is not possible or not needed now."""

    state: State
    worker: str = ""
    remaining_ms: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no such record."""


class Known(NamedTuple):
    """Where a transfer stands, and whether anybody picked up, as far as anybody has said."""

    state: State
    connection: Connection | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of a message that brings its own intent.

    Attributes:
        now_ms: Redis's time.
        sent_after_ms: When it was certainly not yet sent; 0 where that is not known.
    """

    now_ms: int
    sent_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a worker hears when it renews its lease.

    Attributes:
        now_ms: Redis's time.
        empty_ms: When the queue was last empty; 0 where that is not known.
        has_limits: Whether limits on rate are in force that some worker has read in its registry.
        has_polls: Whether there are requests that the platform is to be asked about.
    """

    now_ms: int
    empty_ms: int
    has_limits: bool
    has_polls: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """The attempt is on record; now, and only now, the request may go out."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The attempt is over, the transfer is not: another attempt may begin after the wait."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The right to act is gone; `outcome` is set where the transfer has ended meanwhile."""

    state: str
    outcome: TransferOutcome | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """What one sweep did."""

    requeued: int
    given_up: int
    expired: int
    gone_workers: int
    lost_lines: int = 0


@dataclass(frozen=True, slots=True)
class Erased:
    """The reply of `erase`: see scripts/erase.lua for the verdicts.

    Attributes:
        lines: Audit lines that are gone; with the verdict `unwritten`, those that have to be written first.
        messages: What was left of the transfers in the queue, or fetched from it.
    """

    verdict: str
    transfers: int = 0
    lines: int = 0
    dead_letters: int = 0
    messages: int = 0
    transfer_id: str = ""
    state: str = ""


def parse_outcome(text: str) -> TransferOutcome:
    """Return the outcome that a script wrote as JSON."""
    fields = json.loads(text)
    fields["state"], fields["reason"] = State(fields["state"]), Reason(fields["reason"])
    return TransferOutcome(**fields)


def describe_conflict(transfer_id: str, *, call_id: str) -> TransferOutcome:
    """Return how a request ends whose id belongs to other content: on no record, for whoever sent it."""
    return TransferOutcome(
        transfer_id=transfer_id,
        call_id=call_id,
        state=State.REJECTED,
        reason=Reason.IDEMPOTENCY_CONFLICT,
        detail="the transfer id belongs to another request",
    )


_STATES = {state.value: state for state in State}  # to look one up takes a tenth of calling the enumeration


def parse_accepted(reply: list[Any]) -> Accepted:
    """Return what the reply of `accept` says."""
    verdict, transfer_id, key, hop, state, now_ms = reply
    return Accepted(verdict, transfer_id, key, int(hop), _STATES[state], int(now_ms))


def parse_lost(reply: list[str]) -> Lost:
    """Return what a script says to whoever has no right to act."""
    return Lost(reply[1], parse_outcome(reply[2]) if reply[2] else None)
