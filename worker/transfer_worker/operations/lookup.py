"""An operator's way into the ledger, and the look-up of a transfer or of a whole call."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from transfer_tasks.errors import LedgerUnavailable, TransferNotFound
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.masking import mask_text
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.diagnosis import diagnose
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.record import TransferRecord


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
    """Return one transfer, by its own id and no other.

    Raises:
        TransferNotFound: There is none.
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        record = ledger.read(str(uuid.UUID(wanted_id)))
    except ValueError:
        record = None
    if record is None:
        raise TransferNotFound(mask_text(wanted_id))
    return record


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
