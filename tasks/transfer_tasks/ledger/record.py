"""One transfer as the ledger keeps it, read back whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import ResponseError

from transfer_tasks.connection import Connection
from transfer_tasks.ledger.texts import read_number, read_object
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.signature import Written

if TYPE_CHECKING:
    from collections.abc import Mapping

E = TypeVar("E", bound=StrEnum)

_MAX_ATTEMPTS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecord:
    """One transfer.

    Times are milliseconds since the epoch by Redis's clock; 0 where it has not happened.

    Attributes:
        labels: What may be shown of the destination: its name, and masked endpoints.
        intent_json: The whole request; holds full numbers, so it is never printed.
        asked_by: The id of the key that has signed it, as a worker has verified; before that, what the
            signature says, and that nobody has verified it. Empty where nothing is signed.
        attempt_notes: What is known of each attempt, in order, the platform's whole answer included.
        request_id: The platform's id of the request; empty where nobody knows it.
        connection: Whether anybody picked up; None where nobody has said anything.
        erased_at_ms: When an operator took away what people have said in it.
        is_compacted: Whether it ended more than a day ago, and has only what suppresses repeats since
            (scripts/frame/compaction.lua): not what was asked, nor by whom, nor more of an attempt than
            its reason.
        is_damaged: Whether something of it was missing, or could not be read. The next step that needs it, or
            the sweep, sets the record aside.
    """

    transfer_id: str
    call_id: str
    idempotency_key: str
    hop: int
    state: State
    labels: dict[str, str]
    intent_json: str
    asked_by: str
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
    request_id: str = ""
    connection: Connection | None = None
    erased_at_ms: int = 0
    is_compacted: bool = False
    is_damaged: bool = False

    @classmethod
    def from_hash(cls, transfer_id: str, fields: Mapping[str, str]) -> TransferRecord:
        """Build the record from its Redis hash.

        What can't be read is left out, and `is_damaged` says so: one such record must not hide the others.
        Its state is `unknown` where not even that can be read.
        """
        read = _Reader(fields)
        attempts = read.number("attempt")
        notes = [
            read.json_object(f"attempt:{number}")
            for number in range(1, min(attempts, _MAX_ATTEMPTS) + 1)
            if f"attempt:{number}" in fields
        ]
        state = read.member(State, "state") or State.UNKNOWN
        has_last = bool(notes) and f"attempt:{attempts}" in fields
        if has_last and state is State.SUBMITTED and "begun_ms" not in notes[-1]:
            notes[-1] = read.last_attempt() | notes[-1]
        return cls(
            transfer_id=transfer_id,
            call_id=read.text("call_id"),
            idempotency_key=read.text("key"),
            hop=read.number("hop"),
            state=state,
            labels=read.json_object("labels"),
            intent_json=fields.get("intent", ""),
            asked_by=fields.get("signer", "") or _name_unverified(fields.get("signature", "")),
            worker=fields.get("worker", ""),
            attempts=attempts,
            attempt_notes=tuple(notes),
            accepted_at_ms=read.number("accepted_ms"),
            expires_at_ms=read.number("expires_ms"),
            claimed_at_ms=read.number("claimed_ms", "0"),
            ended_at_ms=read.number("ended_ms", "0"),
            reason=read.member(Reason, "reason") if fields.get("reason") else None,
            source=fields.get("source", ""),
            http_status=read.number("http_status") if fields.get("http_status") else None,
            detail=fields.get("detail", ""),
            request_id=fields.get("request_id", ""),
            connection=Connection.from_json(fields["connection"]) if "connection" in fields else None,
            erased_at_ms=read.number("erased_ms", "0"),
            is_compacted="compacted" in fields,
            is_damaged=read.is_damaged,
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


def _name_unverified(signature: str) -> str:
    key_id = Written("", signature).key_id
    return f"{key_id[:64]} (not verified)" if key_id else ""


def is_of_another_type(error: object) -> bool:
    """Say whether what a key holds is not what it should be."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


class _Reader:
    """Reads one hash, field by field, and notes what can't be read."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self.is_damaged = False

    def text(self, name: str) -> str:
        if name not in self._fields:
            self.is_damaged = True
        return self._fields.get(name, "")

    def number(self, name: str, default: str = "") -> int:
        number = read_number(self._fields.get(name, default))
        self.is_damaged |= number is None
        return number or 0

    def member(self, kind: type[E], name: str) -> E | None:
        try:
            return kind(self._fields.get(name, ""))
        except ValueError:
            self.is_damaged = True
            return None

    def last_attempt(self) -> dict[str, Any]:
        """Return what the record says of its last attempt, which was accepted (scripts/end_attempt.lua)."""
        said = {"reason": self._fields.get("reason"), "worker": self._fields.get("worker")}
        numbers = {
            name: read_number(self._fields.get(name, "")) for name in ("begun_ms", "ended_ms", "http_status")
        }
        return {name: value for name, value in (said | numbers).items() if value is not None}

    def json_object(self, name: str) -> dict[str, Any]:
        found = read_object(self._fields.get(name, ""))
        self.is_damaged |= found is None
        return found or {}
