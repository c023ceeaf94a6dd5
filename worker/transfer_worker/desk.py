"""The on-call desk's answers: the whole story of a call, and what a worker would find before it starts.

Each answer is built as plain JSON values first; `--json` prints those, and the readable form is made from
them, so that both say the same. Nothing in them is a full phone number.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import redis

from transfer_tasks.destinations import DestinationRegistry
from transfer_tasks.errors import LedgerUnavailable, SettingsError
from transfer_tasks.numbers import mask_text
from transfer_worker.preflight import Finding, Verdict, check_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_worker.settings import WorkerSettings

SLOW_REDIS_MS: Final = 20.0
PINGS: Final = 5


def read_story(ledger: Ledger, wanted_id: str) -> list[TransferRecord]:
    """Return every transfer of a call, found by the call's id or by that of one of its transfers.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        wanted_id = str(uuid.UUID(wanted_id))
    except ValueError:
        return []
    record = ledger.read(wanted_id)
    if record is None:
        return ledger.read_call(wanted_id)
    # A refused message has a record, and no place in its call's list.
    return ledger.read_call(record.call_id) or [record]


def describe_story(records: list[TransferRecord], ledger: Ledger) -> dict[str, Any]:
    """Return the story of one call as plain, masked JSON values.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        seconds, microseconds = ledger.client.time()
    except redis.RedisError as error:
        raise LedgerUnavailable(f"time: {type(error).__name__}: {error}") from error
    now_ms = seconds * 1000 + microseconds // 1000
    return {
        "call_id": records[0].call_id,
        "transfers": [_describe_record(record, now_ms) for record in records],
    }


def _describe_record(record: TransferRecord, now_ms: int) -> dict[str, Any]:
    outcome = record.outcome
    guide = outcome.guide if outcome else None
    return {
        "transfer_id": record.transfer_id,
        "hop": record.hop,
        "idempotency_key": record.idempotency_key,
        "state": record.state.value,
        **record.labels,
        "asked": _describe_asked(record.intent_json),
        "accepted_at": _as_time(record.accepted_at_ms),
        "claimed_at": _as_time(record.claimed_at_ms),
        "expires_at": _as_time(record.expires_at_ms),
        "ended_at": _as_time(record.ended_at_ms),
        "clock_left_ms": max(0, record.expires_at_ms - now_ms) if record.state.is_open else None,
        "worker": record.worker or None,
        "attempts": [
            _describe_attempt(number, note, record) for number, note in enumerate(record.attempt_notes, 1)
        ],
        "reason": record.reason and record.reason.value,
        "source": record.source or None,
        "http_status": record.http_status,
        "detail": mask_text(record.detail),
        "meaning": guide and guide.meaning,
        "next_step": guide and guide.next_step,
        "say": guide and guide.say,
    }


def _describe_asked(intent_json: str) -> dict[str, Any]:
    """Return who asked and why. Read as JSON and not as an intent: it may be of another version."""
    intent = json.loads(intent_json) if intent_json else {}
    return {
        "requested_by": mask_text(intent.get("requested_by", "")),
        "reason": mask_text(intent.get("reason", "")),
        "metadata": mask_value(intent.get("metadata", {})),
    }


def _describe_attempt(number: int, note: dict[str, Any], record: TransferRecord) -> dict[str, Any]:
    answer = note.get("answer")
    return {
        "attempt": number,
        "begun_at": _as_time(note.get("begun_ms", 0)),
        "after_ms": round(note["begun_ms"] - record.accepted_at_ms) if note.get("begun_ms") else None,
        "took_ms": note.get("attempt_ms"),
        "reason": note.get("reason"),
        "http_status": note.get("http_status"),
        "detail": mask_text(note.get("detail") or ""),
        "answer": mask_value(json.loads(answer)) if answer else None,
        "worker": note.get("worker"),
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


def _as_time(at_ms: float) -> str | None:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds") if at_ms else None


def examine(settings: WorkerSettings, client: redis.Redis) -> list[Finding]:
    """Return what preflight finds, and what only people want to know."""
    return [
        Finding(
            check="platform",
            verdict=Verdict.OK,
            seen=f"PIOPIY_TOKEN is set, for {settings.piopiy_api_url}",
        ),
        _check_registry(settings),
        *check_worker(settings, client),
        *_check_latency(client),
    ]


def describe_finding(finding: Finding) -> dict[str, str]:
    """Return a finding as plain JSON values."""
    return {
        "check": finding.check,
        "verdict": finding.verdict.value,
        "seen": finding.seen,
        "mend": finding.mend,
    }


def _check_registry(settings: WorkerSettings) -> Finding:
    path = settings.destinations_file
    if path is None:
        return Finding(
            check="registry",
            verdict=Verdict.WARNING,
            seen="no named destinations",
            mend="Copy destinations.example.toml and name the copy in TRANSFER_DESTINATIONS_FILE.",
        )
    try:
        registry = DestinationRegistry.load(path)
    except SettingsError as error:
        return Finding(
            check="registry",
            verdict=Verdict.PROBLEM,
            seen="; ".join(error.problems),
            mend="Correct the file; a worker does not start with it.",
        )
    return Finding(check="registry", verdict=Verdict.OK, seen=f"{path}: {', '.join(registry)}")


def _check_latency(client: redis.Redis) -> Iterator[Finding]:
    times_ms = []
    try:
        for _ in range(PINGS):
            started = time.monotonic()
            client.ping()
            times_ms.append((time.monotonic() - started) * 1000)
    except redis.RedisError as error:
        yield Finding(
            check="latency",
            verdict=Verdict.PROBLEM,
            seen=f"Redis does not answer: {type(error).__name__}",
            mend="Start Redis, or correct TRANSFER_REDIS_URL. Until then no request is accepted or sent.",
        )
        return
    typical_ms = median(times_ms)
    if typical_ms > SLOW_REDIS_MS:
        yield Finding(
            check="latency",
            verdict=Verdict.WARNING,
            seen=f"Redis takes {typical_ms:.1f} ms",
            mend="Move Redis and the workers closer together: a transfer takes four round trips.",
        )
    else:
        yield Finding(check="latency", verdict=Verdict.OK, seen=f"Redis takes {typical_ms:.1f} ms")
