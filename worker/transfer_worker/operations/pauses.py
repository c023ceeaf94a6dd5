"""The kill switch as people see it: which destinations are paused, since when, by whom and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.record import is_of_another_type
from transfer_tasks.ledger.texts import read_object
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.monitoring.damage import read_count

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger

EVERYTHING: Final = "*"
"""The name under which all destinations together are paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """One pause that is on."""

    destination: str
    paused_at_ms: int
    by: str
    reason: str


def name_for_people(destination: str) -> str:
    """Return what a pause is called where people read it."""
    return "all destinations" if destination == EVERYTHING else destination


def read_pauses(ledger: Ledger) -> tuple[Pause, ...]:
    """Return every pause that is on, the oldest first. Whatever its words are, somebody has paused it.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        fields = cast("dict[str, str]", ledger.client.hgetall(ledger.keys.paused))
    except redis.ResponseError as error:
        if not is_of_another_type(error):
            raise LedgerUnavailable(f"pauses: {diagnose(error)}") from error
        return (
            Pause(destination=EVERYTHING, paused_at_ms=0, by="?", reason=f"{ledger.keys.paused} is damaged"),
        )
    except redis.RedisError as error:
        raise LedgerUnavailable(f"pauses: {diagnose(error)}") from error
    pauses = []
    for destination, text in fields.items():
        said = read_object(text) or {}
        pauses.append(
            Pause(
                destination=destination,
                paused_at_ms=read_count(str(said.get("at_ms"))) or 0,
                by=str(said.get("by", "?")),
                reason=str(said.get("reason", "?")),
            )
        )
    return tuple(sorted(pauses, key=lambda pause: pause.paused_at_ms))
