"""Whether anybody picked up, in figures: by destination; and which sources have fallen silent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from transfer_tasks.connection import PLATFORM_SOURCES, ConnectionReason, ConnectionStatus, ReportSource
from transfer_tasks.ledger.texts import read_number
from transfer_tasks.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_worker.monitoring.counts import Counts
    from transfer_worker.monitoring.damage import Damage

UNSTATED: Final = "unstated"
"""Stands for a reason that no source has given."""

FINALS: Final = (
    (ConnectionStatus.CONNECTED.value, UNSTATED),
    *((ConnectionStatus.NOT_CONNECTED.value, reason) for reason in (*map(str, ConnectionReason), UNSTATED)),
)
"""Every final verdict there is, with its reason."""

SOURCES: Final = tuple(source for source in ReportSource if source in PLATFORM_SOURCES)
"""Those of the platform: only of them silence means something."""


class Heard(NamedTuple):
    """When a source last said anything, and how many requests the platform has accepted since."""

    at_ms: int
    accepted_since: int


def read_heard(key: str, fields: Mapping[str, str], totals: Counts, damage: Damage) -> dict[str, Heard]:
    """Return when each source of the platform that has ever spoken was last heard.

    Args:
        key: Where `fields` stand.
        fields: By source, the time and how many requests the platform had accepted by then
            (scripts/report_connection.lua).
        totals: How many it has accepted by now.
        damage: Notes the key if it holds something else.
    """
    accepted = totals[f"attempt|{Reason.ACCEPTED_BY_PLATFORM}"]
    heard = {}
    for source in SOURCES:
        if source not in fields:
            continue
        at, _, count = fields[source].partition(" ")
        at_ms, before = read_number(at), read_number(count)
        if at_ms is None or before is None:
            damage.note(key)
        else:
            heard[source.value] = Heard(at_ms, max(0, accepted - before))
    return heard


def count_connections(counts: Counts) -> dict[str, Counter[str]]:
    """Return the final verdicts to each destination, by status; those with the most verdicts first."""
    verdicts: dict[str, Counter[str]] = {}
    for (status, _, destination), reported in counts.family("connection", parts=3):
        verdicts.setdefault(destination, Counter())[status] += reported
    return dict(sorted(verdicts.items(), key=lambda item: -item[1].total()))
