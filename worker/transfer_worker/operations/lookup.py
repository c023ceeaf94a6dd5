"""An operator's way into the ledger, and the look-up of a transfer or of a whole call."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from string import hexdigits
from typing import TYPE_CHECKING, Final

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.masking import mask_text
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.diagnosis import diagnose
from transfer_tasks.settings import PublisherSettings
from transfer_worker.errors import OperationMisused, OperationRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.record import TransferRecord

UUID_LENGTH: Final = 36
_SCANNED_AT_ONCE: Final = 5000
_NAMED: Final = 5
_WHY_THERE_IS_NONE: Final = (
    "It was never accepted, or so long ago that its record is gone (TRANSFER_RECORD_TTL_HOURS): the "
    "session's log and the audit log tell."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTools:
    """What every command works with."""

    settings: PublisherSettings
    ledger: Ledger
    commands: OperatorCommands


@contextmanager
def open_tools() -> Iterator[OperatorTools]:
    """Yield the tools for the Redis in the settings; waits are bounded by the publisher's budget.

    Raises:
        SettingsError: The settings are wrong.
    """
    settings = PublisherSettings.load()
    retention_seconds = settings.record_ttl_seconds
    with connect(
        settings.redis_url.get_secret_value(), timeout_seconds=settings.publish_budget_seconds
    ) as client:
        yield OperatorTools(
            settings=settings,
            ledger=Ledger(client, retention_seconds=retention_seconds),
            commands=OperatorCommands(retention_seconds=retention_seconds),
        )


def read_clock_ms(ledger: Ledger) -> int:
    """Return the time by Redis's clock, in milliseconds since the epoch.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        seconds, microseconds = ledger.client.time()
    except redis.RedisError as error:
        raise LedgerUnavailable(f"time: {diagnose(error)}") from error
    return int(seconds * 1000 + microseconds // 1000)


def read_transfer(ledger: Ledger, wanted_id: str) -> TransferRecord:
    """Return one transfer. A call's id stands for its last one: no other can be open, or unknown.

    Raises:
        OperationRefused: There is none, or the beginning of an id is that of several.
        LedgerUnavailable: Redis did not answer in time.
    """
    found = find_id(ledger, wanted_id)
    return ledger.read(found) or _read_call(ledger, found)[-1]


def read_story(ledger: Ledger, wanted_id: str) -> list[TransferRecord]:
    """Return every transfer of a call, found by the call's id or by that of one of its transfers.

    Raises:
        OperationRefused: There is none, or the beginning of an id is that of several.
        LedgerUnavailable: Redis did not answer in time.
    """
    found = find_id(ledger, wanted_id)
    record = ledger.read(found)
    if record is None:
        return _read_call(ledger, found)
    # A refused message has a record, and no place in its call's list.
    return ledger.read_call(record.call_id) or [record]


def _read_call(ledger: Ledger, call_id: str) -> list[TransferRecord]:
    records = ledger.read_call(call_id)
    if not records:
        raise refuse_id(f"no call and no transfer has the id {call_id}", _WHY_THERE_IS_NONE)
    return records


def find_id(ledger: Ledger, wanted_id: str) -> str:
    """Return the whole id of a call or a transfer. A whole one may be on no record.

    Args:
        ledger: Where it is looked for, if only the beginning is given: among all keys, in steps.
        wanted_id: A UUID in any spelling, or the beginning of one.

    Raises:
        OperationMisused: It is neither.
        OperationRefused: It is the beginning of none or of several.
        LedgerUnavailable: Redis did not answer in time.
    """
    beginning = spell_beginning(wanted_id)
    if len(beginning) == UUID_LENGTH:
        return beginning
    found: dict[str, str] = {}
    kinds = {ledger.keys.record(""): "transfer", ledger.keys.call(""): "call"}
    try:
        for key in ledger.client.scan_iter(f"{ledger.keys.namespace}:*:{beginning}*", count=_SCANNED_AT_ONCE):
            prefix, _, whole_id = key.rpartition(":")
            if kind := kinds.get(f"{prefix}:"):
                found[whole_id] = kind
    except redis.RedisError as error:
        raise LedgerUnavailable(f"find: {diagnose(error)}") from error
    if not found:
        raise refuse_id(f"no call and no transfer begins with {beginning}", _WHY_THERE_IS_NONE)
    if len(found) > 1:
        named = [f"{kind} {whole_id}" for whole_id, kind in sorted(found.items())]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        raise refuse_id(
            f"{beginning} is the beginning of {', '.join(named[:_NAMED])}{more}", "Write more of the one."
        )
    return next(iter(found))


def spell_beginning(wanted_id: str, *, field: str = "CALL_OR_TRANSFER_ID") -> str:
    """Return an id, or the beginning of one, as it is written in the ledger.

    Raises:
        OperationMisused: It can be neither.
    """
    try:
        return str(uuid.UUID(wanted_id))
    except ValueError:
        digits = wanted_id.replace("-", "").lower()
    if not digits or len(digits) > 32 or not all(digit in hexdigits for digit in digits):
        raise OperationMisused(
            field=field,
            problem=f"{mask_text(wanted_id)!r} is no id",
            fix="Ids are UUIDs, or a beginning of one; call-transfer list and tail show them.",
        )
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(part for part in parts if part)


def refuse_id(problem: str, fix: str) -> OperationRefused:
    """Return what is told where an id leads nowhere."""
    return OperationRefused(field="CALL_OR_TRANSFER_ID", problem=problem, fix=fix)
