"""`call-transfer tail`: audit lines, those that there are and those that come, through outages of Redis."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.audit.console import RECONNECT_SECONDS
from transfer_worker.audit.outbox import BATCH_LINES, entry_of, follow, read_any_lines
from transfer_worker.operations.describe import mask_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transfer_tasks.ledger.keys import Keys

FROM_THE_BEGINNING: Final = "0"
_NO_TEXT: Final = frozenset({"timestamp", "event_id"})
"""What is made of digits and is not a number."""


def read_last_lines(
    client: redis.Redis, *, keys: Keys, count: int, wanted: str = ""
) -> tuple[list[dict[str, Any]], str]:
    """Return the last lines, of one call or of all, oldest first, and the event id to go on after.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    found: list[dict[str, Any]] = []
    newest, before = FROM_THE_BEGINNING, "+"
    try:
        while page := cast(
            "list[tuple[str, dict[str, str]]]",
            client.xrevrange(keys.audit, max=before, count=BATCH_LINES),
        ):
            if newest == FROM_THE_BEGINNING:
                newest = page[0][0]
            lines = (line for entry_id, fields in page for line in reversed(read_any_lines(entry_id, fields)))
            found += [line for line in lines if _is_of(line, wanted)]
            if len(found) >= count:
                break
            before = f"({page[-1][0]}"
    except redis.RedisError as error:
        raise LedgerUnavailable(f"tail: {diagnose(error)}") from error
    return [mask_line(line) for line in reversed(found[:count])], newest


def follow_lines(
    client: redis.Redis, *, keys: Keys, since: str, wanted: str, on_outage: Callable[[str], object]
) -> Iterator[dict[str, Any]]:
    """Yield lines as they are written, for ever.

    Args:
        client: A client of its own, whose socket timeout is longer than `BLOCK_SECONDS`.
        keys: The ledger's keys.
        since: The event id to begin after.
        wanted: Of this call or transfer alone, named by its id or a beginning; of all, if it is empty.
        on_outage: Told once for each time that Redis goes away. The lines are safe there, and come later.
    """
    is_away = False
    pause = threading.Event()
    while True:
        try:
            for line in follow(client, keys=keys, stop=pause, since=since):
                is_away, since = False, entry_of(line["event_id"])
                if _is_of(line, wanted):
                    yield mask_line(line)
        except redis.RedisError as error:
            if not is_away:
                on_outage(type(error).__name__)
            is_away = True
            pause.wait(RECONNECT_SECONDS)


def _is_of(line: dict[str, Any], wanted: str) -> bool:
    return any(str(line[name]).startswith(wanted) for name in ("call_id", "transfer_id"))


def mask_line(line: dict[str, Any]) -> dict[str, Any]:
    """Return an audit line with every text masked: who asks may have said so with a number."""
    return {name: value if name in _NO_TEXT else mask_value(value) for name, value in line.items()}
