"""Which transfers are open, and which ended so within some time: `call-transfer list`.

The endings of each hour and state are a list in the ledger, in the order of time. What is read is the part
that was asked for, not every record that there is.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.record import TransferRecord, is_of_another_type
from transfer_tasks.outcome import OPEN_STATES, Reason, State
from transfer_tasks.redis.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transfer_tasks.ledger.ledger import Ledger

HOUR_MS: Final = 3_600_000
PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class _Ending:
    """One line of an hour's list."""

    transfer_id: str
    ended_ms: int
    reason: str
    destination: str
    state: State

    @classmethod
    def read(cls, line: str, state: State) -> _Ending | None:
        """Return what a line says; None for one that is not as the ledger writes it."""
        transfer_id, *others = line.rsplit(" ", 3)
        try:
            ended_ms, reason, destination = others
            return cls(transfer_id, int(ended_ms), reason, destination, state)
        except ValueError:
            return None


def list_transfers(
    ledger: Ledger,
    *,
    states: Iterable[State] = (),
    since_seconds: float = 3600,
    destination: str = "",
    reason: Reason | None = None,
    limit: int = 100,
) -> list[TransferRecord]:
    """Return transfers, those that are open first, then the ended ones; the newest first in both.

    Args:
        ledger: Where to look.
        states: Which ones; all if none is named.
        since_seconds: How long ago they may have ended. Open ones are listed whatever their age.
        destination: A name from the registry, ``endpoints``, ``pipeline``, or ``unreadable``.
        reason: How they ended; leaves the open ones out.
        limit: The most to return.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    wanted = frozenset(states) or frozenset(State)
    try:
        found = []
        if reason is None:
            found = _list_open(ledger, wanted & OPEN_STATES, destination=destination, limit=limit)
        endings = (
            ending
            for ending in _read_endings(ledger, wanted - OPEN_STATES, since_seconds=since_seconds)
            if destination in {"", ending.destination} and reason in {None, ending.reason}
        )
        while len(found) < limit and (batch := list(islice(endings, limit - len(found)))):
            records = _read_records(ledger, [ending.transfer_id for ending in batch])
            found += [
                record
                for record, ending in zip(records, batch, strict=True)
                # Where the truth came later, the transfer is listed again under its new state.
                if record and (record.state, record.ended_at_ms) == (ending.state, ending.ended_ms)
            ]
    except redis.RedisError as error:
        raise LedgerUnavailable(f"list: {diagnose(error)}") from error
    return found


def _list_open(
    ledger: Ledger, states: frozenset[State], *, destination: str, limit: int
) -> list[TransferRecord]:
    indexes = [ledger.keys.waiting] if State.WAITING in states else []
    if states - {State.WAITING}:
        indexes.append(ledger.keys.in_flight)
    found: list[TransferRecord] = []
    for index in indexes:
        for start in range(0, ledger.client.zcard(index), PAGE):
            ids = cast("list[str]", ledger.client.zrevrange(index, start, start + PAGE - 1))
            for record in _read_records(ledger, ids):
                if record and record.state in states:
                    if destination in {"", record.labels.get("destination")}:
                        found.append(record)
                    if len(found) == limit:
                        return found
    return found


def _read_endings(ledger: Ledger, states: frozenset[State], *, since_seconds: float) -> Iterator[_Ending]:
    """Yield the endings of the given states, the newest first; stop where they become too old."""
    seconds, _ = ledger.client.time()
    since_ms = seconds * 1000 - round(since_seconds * 1000)
    hours = range(seconds * 1000 // HOUR_MS, since_ms // HOUR_MS - 1, -1)
    ordered = sorted(states)
    with ledger.client.pipeline(transaction=False) as pipe:
        for state in ordered:
            for hour in hours:
                pipe.llen(ledger.keys.ended(state, hour))
        lengths = iter(pipe.execute())
    streams = [
        _read_state(ledger, state, [(hour, next(lengths)) for hour in hours], since_ms) for state in ordered
    ]
    return heapq.merge(*streams, key=lambda ending: ending.ended_ms, reverse=True)


def _read_state(
    ledger: Ledger, state: State, lengths: list[tuple[int, int]], since_ms: int
) -> Iterator[_Ending]:
    for hour, length in lengths:
        # Counted from the front: what is appended meanwhile moves nothing.
        for end in range(length, 0, -PAGE):
            key = ledger.keys.ended(state, hour)
            lines = cast("list[str]", ledger.client.lrange(key, max(0, end - PAGE), end - 1))
            for line in reversed(lines):
                ending = _Ending.read(line, state)
                if ending is None:
                    continue
                if ending.ended_ms < since_ms:
                    return
                yield ending


def _read_records(ledger: Ledger, ids: list[str]) -> list[TransferRecord | None]:
    if not ids:
        return []
    with ledger.client.pipeline(transaction=False) as pipe:
        for transfer_id in ids:
            pipe.hgetall(ledger.keys.record(transfer_id))
        hashes = pipe.execute(raise_on_error=False)
    return [
        _read_record(transfer_id, fields) if fields else None
        for transfer_id, fields in zip(ids, hashes, strict=True)
    ]


def _read_record(transfer_id: str, fields: Any) -> TransferRecord:
    if isinstance(fields, redis.RedisError):
        if not is_of_another_type(fields):
            raise fields
        fields = {}
    return TransferRecord.from_hash(transfer_id, fields)
