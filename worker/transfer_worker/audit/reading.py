"""One audit file, line by line: into runs of each chain, and what belongs to none.

A line is judged by the MAC before it where that is at hand: of the line before it in the same file, or what
says itself as its chain's first line there. Where it is not, the chain's judge has it, from another file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from transfer_worker.audit.chain import MAX_TORN_BYTES, NOTHING_BEFORE, describe_torn, read_seal
from transfer_worker.audit.findings import Fault, Kind, Place
from transfer_worker.audit.runs import Run, Stray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_worker.audit.chain import Seal
    from transfer_worker.audit.runs import ComputeMac

_LINE_BEGINS: Final = b'{"timestamp": "'
_NO_HEADS: Final[Mapping[int, bytes]] = {}


class FileReading:
    """Takes the lines of a file, then has what they are.

    Args:
        path: How the file is called in what is found.
        compute: Returns the MAC that a line should have.
        heads: The MACs of lines that the ledger knows, by chain and number.

    Attributes:
        lines: How many sealed lines there are.
        runs: Lines of one chain that follow each other.
        strays: Lines that are not what was sealed.
        faults: What is wrong with lines that belong to no chain.
        unfinished: Lines that a full disk or a killed write has cut; no fault.
    """

    def __init__(self, path: str, *, compute: ComputeMac, heads: Mapping[str, Mapping[int, bytes]]) -> None:
        self.lines = 0
        self.runs: list[Run] = []
        self.strays: list[Stray] = []
        self.faults: list[Fault] = []
        self.unfinished: list[Place] = []
        self._path, self._compute, self._heads = path, compute, heads
        self._open_runs: dict[str, Run] = {}
        self._last_strays: dict[str, Stray] = {}
        self._highest: dict[str, int] = {}
        self._number = 0
        self._pending: list[bytes] = []  # lines without a seal right before this one
        self._pending_bytes = 0

    def take(self, line: bytes) -> Seal | None:
        """Take the next line; return its seal, if it has one."""
        seal = read_seal(line)
        if seal:
            self._number += 1
            if seal.torn or self._pending:
                self._explain_pending(seal)
            self.lines += 1
            self._take_sealed(seal)
        else:
            self._take_unsealed(line)
            self._number += 1
        return seal

    def _take_unsealed(self, line: bytes) -> None:
        if self._pending_bytes > MAX_TORN_BYTES:
            self._judge_pending(is_explained=False)
        self._pending.append(line)
        self._pending_bytes += len(line)

    def end(self) -> None:
        """Judge what stands at the end of the file: nobody may have come after it yet, to explain it."""
        self._number += 1
        self._judge_pending(is_explained=True)

    def _take_sealed(self, seal: Seal) -> None:
        run = self._open_runs.get(seal.chain)
        if run and seal.seq == run.last_seq + 1:
            expected = self._compute(seal, run.last_mac, self._path, self._number)
            if expected == seal.mac:
                run.extend(seal, self._number)
                self._compare_with_head(seal)
            else:
                self._add_stray(seal, expected)
            return
        expected_macs = [
            self._compute(seal, before, self._path, self._number) for before in self._list_macs_before(seal)
        ]
        if expected_macs and seal.mac not in expected_macs:
            self._add_stray(seal, expected_macs[0])
        else:
            self._begin_run(seal, is_linked=bool(expected_macs))

    def _list_macs_before(self, seal: Seal) -> list[bytes]:
        """Return what the MAC before this line may be, which does not follow the one before it."""
        macs = [mac for mac in (seal.before,) if mac is not None]
        if seal.seq == 1:
            macs.append(NOTHING_BEFORE)
        stray = self._last_strays.get(seal.chain)
        if stray and seal.seq == stray.seal.seq + 1:
            macs += [stray.seal.mac, stray.expected]
        return macs

    def _begin_run(self, seal: Seal, *, is_linked: bool) -> None:
        before = self._open_runs.get(seal.chain)
        highest = max(self._highest.get(seal.chain, 0), before.last_seq if before else 0)
        self._highest[seal.chain] = highest
        run = Run(
            first=seal,
            place=self._place(),
            is_linked=is_linked,
            is_late=seal.seq < highest,
            last_seq=seal.seq,
            last_mac=seal.mac,
            last_line=self._number,
        )
        self._open_runs[seal.chain] = run
        self.runs.append(run)
        self._compare_with_head(seal)

    def _add_stray(self, seal: Seal, expected: bytes) -> None:
        stray = Stray(seal, self._place(), expected)
        self._last_strays[seal.chain] = stray
        self.strays.append(stray)

    def _compare_with_head(self, seal: Seal) -> None:
        if self._heads.get(seal.chain, _NO_HEADS).get(seal.seq, seal.mac) != seal.mac:
            text = f"line {seal.seq} of the chain is not the one that the ledger knows"
            self._accuse(Kind.CHANGED, seal.chain, text)

    def _explain_pending(self, seal: Seal) -> None:
        """Judge the lines without a seal before this one, which says whether it found any."""
        is_explained = bool(seal.torn) and seal.torn == describe_torn(b"".join(self._pending))
        self._judge_pending(is_explained=is_explained)
        if seal.torn and not is_explained:
            self._accuse(
                Kind.CHANGED, seal.chain, "what it found unfinished before it was changed or removed"
            )

    def _judge_pending(self, *, is_explained: bool) -> None:
        """Say what the lines without a seal before this one are: cut while they were written, or inserted."""
        first = self._number - len(self._pending)
        forged: list[int] = []
        for number, line in enumerate(self._pending, first):
            if is_explained and _may_be_torn(line.removesuffix(b"\n")):
                self.unfinished.append(Place(self._path, number))
            else:
                forged.append(number)
        self._pending, self._pending_bytes = [], 0
        if forged:
            since, until = forged[0], forged[-1]
            lines = "this line has" if since == until else f"lines {since} to {until} have"
            text = f"{lines} no seal: no worker of this version wrote it so"
            self.faults.append(Fault(Kind.INSERTED, Place(self._path, since), "", text))

    def _accuse(self, kind: Kind, chain: str, text: str) -> None:
        self.faults.append(Fault(kind, self._place(), chain, text))

    def _place(self) -> Place:
        return Place(self._path, self._number)


def _may_be_torn(left: bytes) -> bool:
    """Whether this may begin a line that a worker wrote. What reads as a whole record does not."""
    if not left or not left.startswith(_LINE_BEGINS[: len(left)]):
        return False
    if not left.endswith(b"}"):
        return True
    try:
        json.loads(left)
    except ValueError:
        return True
    return read_seal(left + b"\n") is not None  # cut between the line and its line break
