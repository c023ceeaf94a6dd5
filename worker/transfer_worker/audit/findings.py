"""What can be wrong with audit files, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

MAX_FAULTS: Final = 1000
"""So many are kept; all are counted."""


class Kind(StrEnum):
    """What is wrong."""

    CHANGED = "changed"
    """A line is not what its worker wrote."""
    REMOVED = "removed"
    """Lines are in none of the files, and later ones of their chain are."""
    INSERTED = "inserted"
    """No worker wrote it, or not twice."""
    SWAPPED = "swapped"
    """A line stands after a later one of its chain."""
    CUT_OFF = "cut off"
    """The last lines of a chain are gone: the ledger knows later ones."""
    UNKNOWN_KEY = "unknown key"
    """A key sealed it that was not given."""
    WITHOUT_KEY = "without key"
    """No key sealed it, and there is one."""
    MISSING = "missing"
    """The ledger has counted more than the files tell."""


class Place(NamedTuple):
    """A line of a file, from 1; 0 where it is the file as a whole, and no path where it is none."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that no worker wrote, or that one wrote and is not there.

    Attributes:
        place: Where it was noticed.
        chain: Whose lines these are; empty where nobody can say.
        text: What is wrong, in words.
    """

    kind: Kind
    place: Place
    chain: str
    text: str


@dataclass(slots=True)
class Verification:
    """What was found in the files.

    Attributes:
        lines: How many sealed lines there are.
        chains: The last number of each chain.
        unfinished: Lines that a full disk or a killed write has cut; no fault.
        fault_count: How many faults there are; `faults` has the first ones.
    """

    lines: int = 0
    chains: dict[str, int] = field(default_factory=dict)
    unfinished: list[Place] = field(default_factory=list)
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)

    def accuse(self, fault: Fault) -> None:
        """Put a fault on the list."""
        self.fault_count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)
