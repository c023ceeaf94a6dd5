"""Who else lives on our Redis database, and what of ours lies under the names that all of them share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.publisher.message import TASK_NAME
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.queue.transport import CONTROL_EXCHANGE, EVENT_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.ledger import Ledger

_BINDINGS: Final = "_kombu.binding."
_SHARED_UNACKED: Final = "unacked"
"""kombu 5.7.0's default name for what is fetched and not acknowledged; ours is `Keys.unacked`."""

_SCAN_COUNT: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """A message of ours among the unacknowledged ones under kombu's default name.

    Attributes:
        entry: As it stands there: the message, its exchange and its routing key as JSON.
    """

    transfer_id: str
    tag: str
    entry: str
    message: str


def find_neighbours(ledger: Ledger, *, queue: str) -> list[str]:
    """Return the exchanges of other Celery applications on this database; most are named as their queues.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    ours = {queue, f"{CONTROL_EXCHANGE}.pidbox", f"reply.{CONTROL_EXCHANGE}.pidbox", EVENT_EXCHANGE}
    try:
        names = [str(key) for key in ledger.client.scan_iter(match=f"{_BINDINGS}*", count=_SCAN_COUNT)]
    except redis.RedisError as error:
        raise LedgerUnavailable(f"neighbours: {diagnose(error)}") from error
    return sorted({name.removeprefix(_BINDINGS) for name in names} - ours)


def find_left_behind(ledger: Ledger) -> list[LeftBehind]:
    """Return the messages of ours that a worker under kombu's default names has fetched and not acknowledged.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        return list(_read_left_behind(ledger))
    except redis.RedisError as error:
        raise LedgerUnavailable(f"neighbours: {diagnose(error)}") from error


def _read_left_behind(ledger: Ledger) -> Iterator[LeftBehind]:
    if ledger.client.type(_SHARED_UNACKED) != "hash":
        return
    for tag, entry in ledger.client.hscan_iter(_SHARED_UNACKED, count=1_000):
        try:
            message = cast("Any", json.loads(entry))[0]
            headers = message["headers"]
            is_ours = headers["task"] == TASK_NAME and isinstance(headers["id"], str)
        except (ValueError, LookupError, TypeError, RecursionError):
            continue  # a neighbour's, whatever it is
        if is_ours:
            headers["redelivered"] = True  # its new place in the queue will say nothing of its age
            yield LeftBehind(transfer_id=headers["id"], tag=tag, entry=entry, message=json.dumps(message))
