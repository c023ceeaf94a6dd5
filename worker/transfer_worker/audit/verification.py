"""Whether audit files are what the workers wrote: every edit of a line is found, nothing else is accused.

::

    file A   1 2 3 4|        a chain's run in one file: each line vouches for the one before it
    file B          |5 6 7   the next file must go on with the next number, and with A's last line before it
    ledger         head: 7   a file that ends earlier was cut off

The chains of several processes lie in one file, in any order. What a full disk or a killed write has cut is
told by the sealed line that follows it; at the very end of a file nobody has written it to its end yet.
"""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Final, cast

from transfer_worker.audit.chain import compute_mac
from transfer_worker.audit.findings import Fault, Kind, Place, Verification
from transfer_worker.audit.reading import FileReading
from transfer_worker.audit.runs import ChainJudge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from transfer_tasks.signature import Key
    from transfer_worker.audit.chain import Head, Seal
    from transfer_worker.audit.runs import Run, Stray

_TELL_EVERY_LINES: Final = 4096
_GZIP_BEGINS: Final = b"\x1f\x8b"


class Verifier:
    """Reads files in any order, then judges their chains.

    Args:
        keys: The operator's keys by which lines may be sealed. Without any, plain chains are judged.
        heads: Where the ledger says that chains are.
        allows_plain: Whether chains without a key are judged beside those with one.
        may_begin_later: Whether older files may be gone, and the first lines of a chain with them.
        on_line: Called with each sealed line.
    """

    def __init__(
        self,
        *,
        keys: Iterable[Key] = (),
        heads: Iterable[Head] = (),
        allows_plain: bool = False,
        may_begin_later: bool = False,
        on_line: Callable[[bytes], object] | None = None,
    ) -> None:
        self._secrets: dict[str, bytes | None] = {key.id: key.secret.encode() for key in keys}
        if allows_plain or not self._secrets:
            self._secrets[""] = None
        self._heads: dict[str, dict[int, bytes]] = {}
        for head in heads:
            self._heads.setdefault(head.chain, {})[head.seq] = head.mac
        self._may_begin_later, self._on_line = may_begin_later, on_line
        self._found = Verification()
        self._runs: dict[str, list[Run]] = {}
        self._strays: dict[str, list[Stray]] = {}
        self._unjudged: set[tuple[str, str]] = set()

    def read(self, path: str, file: IO[bytes], *, on_bytes: Callable[[int], object] = lambda _: None) -> None:
        """Read one file.

        Args:
            path: How it is called in what is found.
            file: Open for reading bytes; compressed by gzip or not.
            on_bytes: Called now and then with how much of the file, as it lies on the disk, was read.

        Raises:
            OSError: It can't be read.
        """
        reading = FileReading(path, compute=self._compute, heads=self._heads)
        try:
            for number, line in enumerate(_decompress(file)):
                if reading.take(line) and self._on_line:
                    self._on_line(line)
                if number % _TELL_EVERY_LINES == 0:
                    on_bytes(file.tell())
        except (EOFError, zlib.error) as error:
            raise OSError(0, f"damaged as a compressed file: {error}") from error
        reading.end()
        self._found.lines += reading.lines
        self._found.unfinished += reading.unfinished
        for run in reading.runs:
            self._runs.setdefault(run.first.chain, []).append(run)
        for stray in reading.strays:
            self._strays.setdefault(stray.seal.chain, []).append(stray)
        for fault in reading.faults:
            self._found.accuse(fault)

    def judge(self) -> Verification:
        """Return what was found, once all files are read."""
        for chain in sorted(self._runs.keys() | self._strays.keys()):
            judge = ChainJudge(
                chain,
                self._runs.get(chain, []),
                self._strays.get(chain, []),
                compute=self._compute,
                head=max(self._heads.get(chain, {0: b""})),
                may_begin_later=self._may_begin_later,
            )
            for fault in judge.judge():
                self._found.accuse(fault)
            self._found.chains[chain] = judge.last_seq
        return self._found

    def _compute(self, seal: Seal, before: bytes, path: str, line: int) -> bytes:
        """Return the MAC that a line should have; where nobody gave its key, which is accused, its own."""
        try:
            return compute_mac(self._secrets[seal.key_id], before, seal.covered)
        except KeyError:
            if (seal.chain, seal.key_id) not in self._unjudged:
                self._unjudged.add((seal.chain, seal.key_id))
                self._found.accuse(_describe_unknown_key(seal, Place(path, line)))
            return seal.mac


def _describe_unknown_key(seal: Seal, place: Place) -> Fault:
    kind = Kind.UNKNOWN_KEY if seal.key_id else Kind.WITHOUT_KEY
    how = f"with the key {seal.key_id}, which was not given" if seal.key_id else "without a key"
    return Fault(kind, place, seal.chain, f"sealed {how}: from here on the chain can't be judged")


def _decompress(file: IO[bytes]) -> Iterable[bytes]:
    begins = file.read(len(_GZIP_BEGINS))
    file.seek(0)
    return cast("Iterable[bytes]", gzip.GzipFile(fileobj=file)) if begins == _GZIP_BEGINS else file
