"""What was promised, and what the auditor found of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.history import Fault

INVARIANTS: Final = {
    "ended": "every accepted intent ended, in one outcome",
    "doubled": "at most one request per transfer was carried out by the platform",
    "moved_once": "no call was moved again while its target rang, or after it was answered",
    "one_at_a_time": "nothing was sent for a call while another transfer of it was open or unknown",
    "deadline": "nothing was sent after the deadline",
    "cancelled": "nothing was sent after a successful cancel",
    "truth": "nobody was told what the sandbox knows to be wrong",
    "told": "everybody who waited was told",
    "honest_unknown": "unknown only where an answer was really lost",
    "agreement": "audit log, ledger and sandbox agree",
    "connections": "whether anybody picked up is on record once, as it was, wherever anything true arrived",
    "order": "the audit lines of a transfer make a legal course",
    "lines": "every audit line was written to the file, and printed, whatever became of the disk",
    "plain": "every message of plain Celery is accounted for, as it was sent",
    "neighbour": "another application's tasks ran once each",
    "repeats": "repeats and conflicts were recognised as what they were",
    "served": "no transfer waited while all was well",
    "errors": "no worker raised what it should not, a Redis that is away excepted",
    "budget": "no submission took longer than its time budget",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise; `subject` is a transfer's id, or what else it is about."""

    invariant: str
    subject: str
    text: str


@dataclass(slots=True)
class Verdict:
    """What the auditor found, and what it counted on the way."""

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    unknown_because: Counter[str] = field(default_factory=Counter)
    celery_lost_by: list[Fault] = field(default_factory=list)
