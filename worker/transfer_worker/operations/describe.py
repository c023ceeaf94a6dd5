"""Transfers as plain JSON values, with nothing in them that is a full phone number.

`--json` prints these, and the readable form is made from them, so that both say the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.connection import Connection
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.record import is_of_another_type
from transfer_tasks.ledger.texts import read_object
from transfer_tasks.masking import keep_visible, mask_text
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.operations.lookup import read_clock_ms

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.record import TransferRecord


HIDDEN: Final = "***"


def describe_story(
    records: list[TransferRecord], ledger: Ledger, *, reveals_metadata: bool = False
) -> dict[str, Any]:
    """Return the story of one call as plain, masked JSON values.

    Args:
        records: The call's transfers.
        ledger: Where they are.
        reveals_metadata: Whether metadata is shown as it was given; that has to be on record before.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    now_ms = read_clock_ms(ledger)
    return {
        "call_id": mask_text(records[0].call_id),
        "transfers": [
            _describe_record(record, now_ms, reveals_metadata=reveals_metadata) for record in records
        ],
        "unmatched_reports": _read_unmatched(ledger, records[0].call_id),
    }


def _describe_record(record: TransferRecord, now_ms: int, *, reveals_metadata: bool) -> dict[str, Any]:
    outcome = record.outcome
    guide = outcome.guide if outcome else None
    return {
        "transfer_id": mask_text(record.transfer_id),
        "hop": record.hop,
        "idempotency_key": mask_text(record.idempotency_key),
        "state": record.state.value,
        "is_damaged": record.is_damaged,
        **mask_value(record.labels),
        "asked_by": mask_text(record.asked_by) or None,
        "asked": {
            **_describe_asked(record.intent_json),
            "metadata": _describe_metadata(record, is_revealed=reveals_metadata),
        },
        "accepted_at": as_time(record.accepted_at_ms),
        "claimed_at": as_time(record.claimed_at_ms),
        "expires_at": as_time(record.expires_at_ms),
        "ended_at": as_time(record.ended_at_ms),
        "erased_at": as_time(record.erased_at_ms),
        "is_compacted": record.is_compacted,
        "clock_left_ms": max(0, record.expires_at_ms - now_ms) if record.state.is_open else None,
        "worker": record.worker or None,
        "attempts": [
            _describe_attempt(number, note, record) for number, note in enumerate(record.attempt_notes, 1)
        ],
        "reason": record.reason and record.reason.value,
        "source": record.source or None,
        "http_status": record.http_status,
        "detail": mask_text(record.detail),
        "request_id": mask_text(record.request_id) or None,
        "connection": _describe_connection(record.connection),
        "meaning": guide and guide.meaning,
        "next_step": guide and guide.next_step,
        "say": guide and guide.say,
    }


def _describe_connection(connection: Connection | None) -> dict[str, Any] | None:
    """Return whether anybody picked up; None where nobody has said anything."""
    if connection is None:
        return None
    return {
        "status": connection.status.value,
        "reason": connection.reason and connection.reason.value,
        "caller_gone": connection.caller_gone,
        "source": connection.source.value,
        "at": as_time(connection.at_ms),
        "heard_at": as_time(connection.heard_at_ms),
        "ringing_at": as_time(connection.ringing_at_ms),
        "contradictions": [
            {
                "status": other.status.value,
                "reason": other.reason and other.reason.value,
                "source": other.source.value,
                "heard_at": as_time(other.heard_at_ms),
            }
            for other in connection.contradictions
        ],
    }


def _read_unmatched(ledger: Ledger, call_id: str) -> list[dict[str, Any]]:
    """Return the last reports of a call of which nobody knows whose they are."""
    try:
        texts = cast("list[str]", ledger.client.lrange(ledger.keys.unmatched(call_id), 0, -1))
    except redis.RedisError as error:
        if is_of_another_type(error):
            return []
        raise LedgerUnavailable(f"show: {diagnose(error)}") from error
    return [
        {"request_id": mask_text(str((read_object(text) or {}).get("request_id", ""))) or None, **described}
        for text in texts
        if (described := _describe_connection(Connection.from_json(text)))
    ]


def describe_listing(records: list[TransferRecord], ledger: Ledger) -> list[dict[str, Any]]:
    """Return one object of plain, masked JSON values for each transfer.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    now_ms = read_clock_ms(ledger)
    return [
        {
            "transfer_id": mask_text(record.transfer_id),
            "call_id": mask_text(record.call_id),
            "hop": record.hop,
            "state": record.state.value,
            "is_damaged": record.is_damaged,
            "is_compacted": record.is_compacted,
            "reason": record.reason and record.reason.value,
            **mask_value(record.labels),
            "requested_by": name_requester(record) or None,
            "asked_by": mask_text(record.asked_by) or None,
            "attempts": record.attempts,
            "connection": record.connection and record.connection.status.value,
            "connection_reason": record.connection
            and record.connection.reason
            and record.connection.reason.value,
            "http_status": record.http_status,
            "detail": mask_text(record.detail),
            "accepted_at": as_time(record.accepted_at_ms),
            "ended_at": as_time(record.ended_at_ms),
            "age_seconds": max(0, now_ms - record.accepted_at_ms) / 1000,
        }
        for record in records
    ]


def name_requester(record: TransferRecord) -> str:
    """Return who asked, by the name that stands in the request, masked; empty where none does."""
    return str(_describe_asked(record.intent_json)["requested_by"])


def _describe_asked(intent_json: str) -> dict[str, Any]:
    """Return who asked and why. Read as JSON: it may be of another version, or signed as it stands."""
    intent = read_object(intent_json) or {}
    return {
        "requested_by": mask_text(keep_visible(str(intent.get("requested_by", "")))),
        "reason": mask_text(keep_visible(str(intent.get("reason", "")))),
    }


def read_metadata(record: TransferRecord) -> dict[str, Any]:
    """Return what was attached to a request, as it was given."""
    metadata = (read_object(record.intent_json) or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _describe_metadata(record: TransferRecord, *, is_revealed: bool) -> dict[str, Any]:
    metadata = read_metadata(record)
    return metadata if is_revealed else {mask_text(name): HIDDEN for name in metadata}


def _describe_attempt(number: int, note: dict[str, Any], record: TransferRecord) -> dict[str, Any]:
    begun_ms = note.get("begun_ms")
    begun_ms = begun_ms if isinstance(begun_ms, int | float) else 0
    return {
        "attempt": number,
        "begun_at": as_time(begun_ms),
        "after_ms": round(begun_ms - record.accepted_at_ms) if begun_ms else None,
        "took_ms": mask_value(note.get("attempt_ms")),
        "reason": mask_value(note.get("reason")),
        "http_status": mask_value(note.get("http_status")),
        "detail": mask_text(str(note.get("detail") or "")),
        # Of what can't be read, nothing is shown: nobody could mask it.
        "answer": mask_value(read_object(str(note["answer"])) or {}) if note.get("answer") else None,
        "worker": mask_value(note.get("worker")),
    }


def mask_value(value: Any) -> Any:
    """Return a JSON value with every text and number masked that may be a phone number."""
    match value:
        case str():
            return mask_text(value)
        case dict():
            return {mask_text(name): mask_value(inner) for name, inner in value.items()}
        case list():
            return [mask_value(inner) for inner in value]
        case int() if abs(value) >= 1_000_000:
            return mask_text(str(value))
        case _:
            return value


def as_time(at_ms: float) -> str | None:
    """Return a point in time as ISO 8601 in UTC; None for 0, which stands for never."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds") if at_ms else None
    except (ValueError, OverflowError, OSError):
        return None  # a number that stands in Redis may be anything
