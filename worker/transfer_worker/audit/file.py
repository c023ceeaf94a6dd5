"""The audit file: one JSON object a line, appended by every worker that is given it."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MODE: Final = 0o600
"""Who talks to whom, and why, is for the operator alone."""


class AuditFile:
    """Appends lines to a file that several processes may share.

    A batch is one unbuffered write at the end of the file, so that processes can't tear each other's lines.

    Args:
        path: The file; made if it is not there.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._open()

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write all lines.

        Raises:
            OSError: It does not take them; a part may have been written. The next call opens the file anew,
                so that a new disk, or another file under the same name, is found.
        """
        batch = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if not batch:
            return
        try:
            descriptor = self._open()
            if _ends_within_a_line(descriptor):
                batch = b"\n" + batch
            written = os.write(descriptor, batch)
        except OSError:
            self.close()
            raise
        if written != len(batch):
            self.close()
            raise OSError(errno.ENOSPC, "the audit file took only a part")

    def close(self) -> None:
        """Close it; `append` opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, MODE)
            about = os.fstat(self._descriptor)
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                os.fchmod(self._descriptor, MODE)  # one that was made before, with the rights of another tool
        return self._descriptor


def _ends_within_a_line(descriptor: int) -> bool:
    """Whether somebody's write was cut: a disk was full."""
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or not about.st_size:
        return False
    return os.pread(descriptor, 1, about.st_size - 1) != b"\n"
