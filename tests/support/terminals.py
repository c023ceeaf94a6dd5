"""A command at a terminal of its own: what a person sees, and what it does with the keys."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# In a child of its own: the terminal becomes the controlling one, from which passwords are read.
_ON_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A command with a pseudo-terminal for stdin, stdout and stderr. Use it as a context manager."""

    def __init__(self, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *map(str, command)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=dict(env),
            cwd=cwd,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def press_ctrl_c(self, again_seconds: float = 5, deadline_seconds: float = 60) -> tuple[int, str]:
        """Press Ctrl-C, again each few seconds as a person does, and return what `wait` returns.

        A signal between the prompt and the read behind it is seen by Python only with the next key.
        """
        deadline = time.monotonic() + deadline_seconds
        is_open = True
        while is_open and time.monotonic() < deadline:
            self.type("\x03")
            again = time.monotonic() + again_seconds
            while is_open and (left := again - time.monotonic()) > 0:
                is_open = self._read(left)
        return self.wait()

    def wait_for(self, text: str, deadline_seconds: float = 60) -> str:
        """Return all that was shown, once `text` is in it."""
        deadline = time.monotonic() + deadline_seconds
        while text not in self._seen:
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"{text!r} was not shown:\n{self._seen}")
        return self._seen

    def wait(self, deadline_seconds: float = 60) -> tuple[int, str]:
        """Return the exit code and all that was shown."""
        deadline = time.monotonic() + deadline_seconds
        while (left := deadline - time.monotonic()) > 0 and self._read(left):
            pass
        return self.process.wait(deadline_seconds), self._seen

    def _read(self, within_seconds: float) -> bool:
        """Take in what is there; return False once the other end is closed."""
        if not select.select([self._ours], [], [], within_seconds)[0]:
            return True
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # EIO: nobody holds the other end any more (Linux)
            return False
        self._seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)
