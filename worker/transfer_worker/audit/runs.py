"""The runs of one chain, out of all files, joined and judged.

::

    runs     1 2 3    5 6      4 is in no run: it is removed, or a stray says what became of it
    strays        4'           not what was sealed: changed if its number is free, inserted if it is taken
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Protocol

from transfer_worker.audit.chain import NOTHING_BEFORE, Seal
from transfer_worker.audit.findings import Fault, Kind, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class ComputeMac(Protocol):
    """Returns the MAC that a line should have."""

    def __call__(self, seal: Seal, before: bytes, path: str, line: int) -> bytes:
        """Compute it from the line, which stands there, and from the MAC before it."""


@dataclass(slots=True)
class Run:
    """Lines of one chain that follow each other in one file.

    Attributes:
        is_linked: Whether the first of them was judged by the MAC before it.
        is_late: Whether the file has a later line of the chain before them.
    """

    first: Seal
    place: Place
    is_linked: bool
    is_late: bool
    last_seq: int
    last_mac: bytes
    last_line: int

    def extend(self, seal: Seal, line: int) -> None:
        """Add the line that follows."""
        self.last_seq, self.last_mac, self.last_line = seal.seq, seal.mac, line


class Stray(NamedTuple):
    """A line that is not what was sealed.

    Attributes:
        expected: The MAC that it should have.
    """

    seal: Seal
    place: Place
    expected: bytes


class ChainJudge:
    """Joins the runs of one chain, in order, and says what is wrong with it.

    Args:
        chain: Its name.
        runs: Its runs in all files.
        strays: Its lines that are not what was sealed.
        compute: Returns the MAC that a line should have.
        head: The last number that the ledger knows; 0 where it knows none.
        may_begin_later: Whether the first lines may be gone, together with their files.

    Attributes:
        last_seq: The number of the last line that was joined.
    """

    def __init__(
        self,
        chain: str,
        runs: Sequence[Run],
        strays: Sequence[Stray],
        *,
        compute: ComputeMac,
        head: int,
        may_begin_later: bool,
    ) -> None:
        self.last_seq = 0
        self._chain, self._runs, self._strays = chain, runs, strays
        self._compute, self._head, self._may_begin_later = compute, head, may_begin_later
        self._last_mac = NOTHING_BEFORE
        self._last_place = Place("", 0)
        self._faults: list[Fault] = []

    def judge(self) -> list[Fault]:
        """Return what is wrong."""
        runs = sorted(self._runs, key=lambda run: run.first.seq)
        free = self._judge_strays(runs)
        numbers = sorted(free)
        for run in runs:
            self._join(run, free, numbers)
        for first, last in _find_gaps(self.last_seq + 1, self._head, numbers):
            text = f"{_name(first, last)} of the chain should follow, by what the ledger knows"
            self._accuse(Kind.CUT_OFF, self._last_place, text)
        return self._faults

    def _judge_strays(self, runs: Sequence[Run]) -> dict[int, Stray]:
        """Return those whose number no other line has: there is what they were made of."""
        firsts = [run.first.seq for run in runs]
        reach = list(accumulate((run.last_seq for run in runs), max))
        free: dict[int, Stray] = {}
        for stray in self._strays:
            seq = stray.seal.seq
            at = bisect_right(firsts, seq) - 1
            if seq in free or (at >= 0 and reach[at] >= seq):
                text = f"it says line {seq} of the chain, and that is another one"
                self._accuse(Kind.INSERTED, stray.place, text)
            else:
                free[seq] = stray
                self._accuse(Kind.CHANGED, stray.place, f"line {seq} of the chain is not what was sealed")
        return free

    def _join(self, run: Run, free: Mapping[int, Stray], numbers: Sequence[int]) -> None:
        first = run.first.seq
        if first <= self.last_seq:
            twice = _name(first, min(run.last_seq, self.last_seq))
            self._accuse(Kind.INSERTED, run.place, f"{twice} of the chain: there a second time")
        else:
            if not self._may_lack(run):
                self._accuse_gaps(run, numbers)
            if not self._follows(run, free.get(first - 1)):
                self._accuse(Kind.CHANGED, run.place, f"line {first} of the chain is not what was sealed")
            if run.is_late:
                self._accuse(Kind.SWAPPED, run.place, f"line {first} of the chain stands after a later one")
        if run.last_seq > self.last_seq:
            self.last_seq, self._last_mac = run.last_seq, run.last_mac
            self._last_place = Place(run.place.path, run.last_line)

    def _accuse_gaps(self, run: Run, numbers: Sequence[int]) -> None:
        for first, last in _find_gaps(self.last_seq + 1, run.first.seq - 1, numbers):
            text = f"{_name(first, last)} of the chain should be before this one"
            self._accuse(Kind.REMOVED, run.place, text)

    def _may_lack(self, run: Run) -> bool:
        """Whether lines before it may be gone: older files are, and the chain began with it in its file."""
        return self._may_begin_later and not self.last_seq and run.first.before is not None

    def _follows(self, run: Run, stray: Stray | None) -> bool:
        first = run.first
        if first.seq == self.last_seq + 1:
            is_told = run.is_linked and first.before in {None, self._last_mac}
            return is_told or self._compute(first, self._last_mac, *run.place) == first.mac
        if stray is None or run.is_linked:
            return True  # what is before it is not there
        macs = (stray.seal.mac, stray.expected)
        return any(self._compute(first, mac, *run.place) == first.mac for mac in macs)

    def _accuse(self, kind: Kind, place: Place, text: str) -> None:
        self._faults.append(Fault(kind, place, self._chain, text))


def _find_gaps(first: int, last: int, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the ranges from `first` to `last` that hold none of these numbers, which are sorted."""
    for seq in numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]:
        if seq > first:
            yield first, seq - 1
        first = seq + 1
    if first <= last:
        yield first, last


def _name(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"
