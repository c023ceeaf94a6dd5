"""Which transfers are open, and which ended so within some time: `call-transfer list`.

The endings of each hour and state are a list in the ledger, in the order of time. What is read is the part
that was asked for, not every record that there is.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.keys import IN_FLIGHT, WAITING
from transfer_tasks.ledger.record import TransferRecord, is_of_another_type
from transfer_tasks.masking import mask_text
from transfer_tasks.outcome import OPEN_STATES, Reason, State
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.operations.describe import name_requester

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transfer_tasks.ledger.ledger import Ledger

HOUR_MS: Final = 3_600_000
PAGE: Final = 200
NOTHING_SAID: Final = "none"
"""Stands for a connection of which nobody has said anything."""


MOST_COUNTED: Final = 100_000
"""Some twenty seconds of looking."""

TRAITS: Final[dict[str, Callable[[TransferRecord], str]]] = {
    "state": lambda record: record.state.value,
    "reason": lambda record: record.reason.value if record.reason else "-",
    "destination": lambda record: mask_text(record.labels.get("destination", "?")),
    "requester": lambda record: (
        name_requester(record) or ("(not kept)" if record.is_compacted else "(not said)")
    ),
}
"""What transfers are counted by."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which transfers are listed.

    Attributes:
        states: Which ones; all if none is named.
        since_seconds: How long ago they may have ended. Open ones are listed whatever their age.
        destination: A name from the registry, ``endpoints``, ``pipeline``, or ``unreadable``; any if empty.
        reason: How they ended; leaves the open ones out.
        requester: Who asked, by the name in the request, masked or not, or by the key's id; any if empty.
        connection: A `ConnectionStatus`, or ``none`` where nobody has said anything; any if empty.
    """

    states: frozenset[State] = frozenset()
    since_seconds: float = 3600
    destination: str = ""
    reason: Reason | None = None
    requester: str = ""
    connection: str = ""

    def fits(self, record: TransferRecord) -> bool:
        """Whether it is asked for by the one who is wanted, and connected as is wanted."""
        connection = record.connection.status.value if record.connection else NOTHING_SAID
        if self.connection not in {"", connection}:
            return False
        key_id = record.asked_by.partition(" ")[0]  # "(not verified)" may follow
        return not self.requester or mask_text(self.requester) in {name_requester(record), key_id}


def list_transfers(ledger: Ledger, wanted: Wanted, *, limit: int = 100) -> list[TransferRecord]:
    """Return transfers: those that are open, the oldest first, then the ended ones, the newest first.

    Args:
        ledger: Where to look.
        wanted: Which ones.
        limit: The most to return.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    return list(islice(iterate_transfers(ledger, wanted, page=limit), limit))


def count_transfers(
    ledger: Ledger, wanted: Wanted, *, by: Sequence[str], limit: int = MOST_COUNTED
) -> tuple[Counter[tuple[str, ...]], bool]:
    """Count the transfers of each kind; whether there are more than were counted.

    Args:
        ledger: Where to look.
        wanted: Which ones.
        by: What makes a kind: names of `TRAITS`.
        limit: The most to count.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    transfers = iterate_transfers(ledger, wanted)
    counts = Counter(tuple(TRAITS[name](of) for name in by) for of in islice(transfers, limit))
    return counts, next(transfers, None) is not None


def iterate_transfers(ledger: Ledger, wanted: Wanted, *, page: int = PAGE) -> Iterator[TransferRecord]:
    """Yield transfers as `list_transfers` has them; no more is read than what is taken, and a page.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    states = wanted.states or frozenset(State)
    open_states = states & OPEN_STATES if wanted.reason is None else frozenset()
    try:
        yield from filter(
            wanted.fits,
            chain(
                _iterate_open(ledger, open_states, destination=wanted.destination),
                _iterate_ended(ledger, states - OPEN_STATES, wanted, page=min(page, PAGE)),
            ),
        )
    except redis.RedisError as error:
        raise LedgerUnavailable(f"list: {diagnose(error)}") from error


def _iterate_open(ledger: Ledger, states: frozenset[State], *, destination: str) -> Iterator[TransferRecord]:
    kinds = [WAITING] if State.WAITING in states else []
    if states - {State.WAITING}:
        kinds.append(IN_FLIGHT)
    for lowest, highest in kinds:
        # All at once: what is claimed meanwhile moves the places of the others.
        ids = cast("list[str]", ledger.client.zrangebyscore(ledger.keys.open_ids, lowest, highest))
        if (lowest, highest) == IN_FLIGHT:
            ids.reverse()  # the oldest first
        for start in range(0, len(ids), PAGE):
            for record in _read_records(ledger, ids[start : start + PAGE]):
                if (
                    record
                    and record.state in states
                    and destination in {"", record.labels.get("destination")}
                ):
                    yield record


def _iterate_ended(
    ledger: Ledger, states: frozenset[State], wanted: Wanted, *, page: int
) -> Iterator[TransferRecord]:
    endings = (
        ending
        for ending in _read_endings(ledger, states, since_seconds=wanted.since_seconds)
        if wanted.destination in {"", ending.destination} and wanted.reason in {None, ending.reason}
    )
    while batch := list(islice(endings, page)):
        records = _read_records(ledger, [ending.transfer_id for ending in batch])
        for record, ending in zip(records, batch, strict=True):
            # Where the truth came later, the transfer is listed again under its new state.
            if record and (record.state, record.ended_at_ms) == (ending.state, ending.ended_ms):
                yield record


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
