"""One transfer as the ledger keeps it, read back whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer_tasks.outcome import Reason, State, TransferOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecord:
    """One transfer.

    Times are milliseconds since the epoch by Redis's clock; 0 where it has not happened.

    Attributes:
        labels: What may be shown of the destination: its name, and masked endpoints.
        intent_json: The whole request; holds full numbers, so it is never printed.
        attempt_notes: What is known of each attempt, in order, the platform's whole answer included.
    """

    transfer_id: str
    call_id: str
    idempotency_key: str
    hop: int
    state: State
    labels: dict[str, str]
    intent_json: str
    worker: str
    attempts: int
    attempt_notes: tuple[dict[str, Any], ...]
    accepted_at_ms: int
    expires_at_ms: int
    claimed_at_ms: int
    ended_at_ms: int
    reason: Reason | None
    source: str
    http_status: int | None
    detail: str

    @classmethod
    def from_hash(cls, transfer_id: str, fields: Mapping[str, str]) -> TransferRecord:
        """Build the record from its Redis hash, which must not be empty."""
        attempts = int(fields.get("attempt", "0"))
        return cls(
            transfer_id=transfer_id,
            call_id=fields["call_id"],
            idempotency_key=fields["key"],
            hop=int(fields["hop"]),
            state=State(fields["state"]),
            labels=json.loads(fields.get("labels", "{}")),
            intent_json=fields.get("intent", ""),
            worker=fields.get("worker", ""),
            attempts=attempts,
            attempt_notes=tuple(
                json.loads(fields[f"attempt:{number}"])
                for number in range(1, attempts + 1)
                if f"attempt:{number}" in fields
            ),
            accepted_at_ms=int(fields["accepted_ms"]),
            expires_at_ms=int(fields["expires_ms"]),
            claimed_at_ms=int(fields.get("claimed_ms", "0")),
            ended_at_ms=int(fields.get("ended_ms", "0")),
            reason=Reason(fields["reason"]) if fields.get("reason") else None,
            source=fields.get("source", ""),
            http_status=int(fields["http_status"]) if fields.get("http_status") else None,
            detail=fields.get("detail", ""),
        )

    @property
    def outcome(self) -> TransferOutcome | None:
        """How it ended; None while it is open."""
        if self.state.is_open or self.reason is None:
            return None
        return TransferOutcome(
            transfer_id=self.transfer_id,
            call_id=self.call_id,
            state=self.state,
            reason=self.reason,
            attempts=self.attempts,
            hop=self.hop,
            source=self.source,
            http_status=self.http_status,
            detail=self.detail,
            ended_at_ms=self.ended_at_ms,
        )
