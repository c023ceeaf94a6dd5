"""The audit file: one JSON object a line, sealed, appended by every worker that is given it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from transfer_worker.audit.chain import MAX_TORN_BYTES, find_torn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from transfer_worker.audit.chain import Chain, Head

MODE: Final = 0o600
"""Who talks to whom, and why, is for the operator alone."""

LOCK_SECONDS: Final = 1.0
"""How long another writer may hold the file: a batch takes milliseconds. A stopped one delays nobody more."""
_LOCK_AGAIN_SECONDS: Final = 0.005

_USUAL_TAIL_BYTES: Final = 4096
"""Has the last sealed line in it, mostly."""
_TAIL_BYTES: Final = 36
"""The end of a sealed line, its MAC within: enough to know it again."""


class AuditFile:
    """Appends lines to a file that several processes may share.

    A batch is one unbuffered write at the end of the file, under a lock, so that processes neither tear each
    other's lines nor take one that is being written for one that was cut. A file that was moved away
    (logrotate) is left: the next batch goes to the path again.

    Args:
        path: The file; made if it is not there.
        chain: Seals the lines.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: Path, *, chain: Chain) -> None:
        self.path = path
        self._chain = chain
        self._descriptor: int | None = None
        self._last_end = 0
        self._last_tail = b""
        self._open()

    @property
    def head(self) -> Head:
        """The last line of ours that the file took."""
        return self._chain.head

    def append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write all lines.

        Raises:
            OSError: It does not take them; a part may have been written. The next call opens the file anew,
                so that a new disk is found, and begins a new chain.
        """
        if not lines:
            return
        try:
            if self._has_moved():
                self.close()
            with _locked(self._open()) as descriptor:
                self._append(descriptor, lines)
        except OSError:
            self.close()
            self._chain.begin_anew()
            raise

    def _append(self, descriptor: int, lines: Sequence[Mapping[str, Any]]) -> None:
        size = _find_size(descriptor)
        holds_last = self._holds_our_last(descriptor, size)
        torn = b"" if holds_last and size == self._last_end else _read_torn(descriptor, size)
        batch, head = self._chain.seal(lines, is_new_file=not holds_last, torn=torn)
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            batch = b"\n" + batch
        if os.write(descriptor, batch) != len(batch):
            raise OSError(errno.ENOSPC, "the audit file took only a part")
        self._chain.advance(head)
        self._last_end, self._last_tail = size + len(batch), batch[-_TAIL_BYTES:]

    def _holds_our_last(self, descriptor: int, size: int) -> bool:
        """Whether our last line is where we wrote it: it is not in a new file, or in one that was emptied."""
        start = self._last_end - _TAIL_BYTES
        return 0 <= start < size and os.pread(descriptor, _TAIL_BYTES, start) == self._last_tail

    def close(self) -> None:
        """Close it; `append` opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _has_moved(self) -> bool:
        """Whether another file, or none, is where ours was."""
        if self._descriptor is None:
            return False
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, MODE)
            about = os.fstat(self._descriptor)
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                os.fchmod(self._descriptor, MODE)  # one that was made before, with the rights of another tool
        return self._descriptor


@contextmanager
def _locked(descriptor: int) -> Iterator[int]:
    """Hold the file alone. The system lets go of it for a process that dies.

    Raises:
        OSError: Another process has held it for too long.
    """
    give_up_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise OSError(errno.EBUSY, "another process holds the audit file") from None
            time.sleep(_LOCK_AGAIN_SECONDS)
    try:
        yield descriptor
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _find_size(descriptor: int) -> int:
    about = os.fstat(descriptor)
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


def _read_torn(descriptor: int, size: int) -> bytes:
    """Return what stands unfinished at the end of the file."""
    for length in (_USUAL_TAIL_BYTES, MAX_TORN_BYTES):
        start = max(0, size - length)
        text = os.pread(descriptor, size - start, start)
        torn = find_torn(text)
        if torn is not None:
            return torn
        if not start:
            break
    return text
