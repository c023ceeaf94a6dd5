"""How long it took from the death of a worker to the POST of what it had held and not sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaos.excuses import KILLS, LEASE_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Fault, History, Index, Line

WITHIN_MS: Final = 8000.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """One transfer that another worker took over; undisturbed if nothing else went wrong meanwhile."""

    transfer_id: str
    seconds: float
    is_undisturbed: bool


def measure_recoveries(history: History, index: Index) -> list[Recovery]:
    """Return the time of every transfer that outlived its worker."""
    return [recovery for lines in index.lines.values() for recovery in _measure(history, index, lines)]


def _measure(history: History, index: Index, lines: list[Line]) -> Iterator[Recovery]:
    for position, line in enumerate(lines):
        if line.event != "requeued":
            continue
        kill = _find_kill(history, line)
        began = next((later.at_ms for later in lines[position:] if later.event == "attempt_started"), None)
        if kill is None or began is None:
            continue
        posts = index.posts.get(line.fields["idempotency_key"], [])
        sent = next((post.at_ms for post in posts if post.at_ms >= began - 5), began)
        others = [
            fault
            for fault in history.faults_between(kill.begun_ms - LEASE_MS, sent)
            if fault is not kill and not fault.target.startswith("p")
        ]
        yield Recovery(line.transfer_id, (sent - kill.begun_ms) / 1000, not others)


def _find_kill(history: History, requeued: Line) -> Fault | None:
    """Return the kill that had the transfer redelivered; None if something else did."""
    slot = history.slot_of(requeued.worker)
    candidates = [
        fault
        for fault in history.faults
        if fault.kind in KILLS
        and fault.begun_ms <= requeued.at_ms <= fault.begun_ms + WITHIN_MS
        and slot in {"", fault.target}
    ]
    return max(candidates, key=lambda fault: fault.begun_ms, default=None)
