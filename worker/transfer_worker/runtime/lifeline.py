"""Children that don't outlive us, however we end.

A child inherits the reading end of a pipe whose writing end only we hold. When we are gone without having
ended it, by SIGKILL say, it reads the pipe's end and is gone at once as well: `kill -9` of the command is
`kill -9` of the worker, and the ledger settles what it held.

The children are Python programs that call `die_with_parent`. A foreign program needs a watchdog instead
(`embedded_redis`).

The other way round goes why a child ends: it leaves its words in a second pipe (`leave_words`), for whoever
has to say why it is started again (`LastWords`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RESTARTS_VARIABLE: Final = "CALL_TRANSFER_RESTARTS"
"""Tells a child how often it was started again; its heartbeats say so."""

_VARIABLE: Final = "CALL_TRANSFER_LIFELINE"
_WORDS_VARIABLE: Final = "CALL_TRANSFER_LAST_WORDS"
_MAX_WORDS_BYTES: Final = 1000


class Lifeline:
    """Starts children that die with this process. A context manager: end them before you leave it."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write_fd)
        os.close(self._read_fd)

    def spawn(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        output: IO[bytes] | None = None,
        words: LastWords | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own, so that Ctrl-C in the terminal reaches us and not it.

        Args:
            command: The program, which has to call `die_with_parent`.
            env: Its whole environment.
            cwd: Where it runs; here unless given.
            output: Where stdout and stderr go; ours unless given.
            words: Where it may say why it ends.
        """
        inherited = {_VARIABLE: self._read_fd} | ({_WORDS_VARIABLE: words.write_fd} if words else {})
        return subprocess.Popen(  # noqa: S603 - the commands are those of this package
            command,
            env={**env, **{name: str(descriptor) for name, descriptor in inherited.items()}},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=tuple(inherited.values()),
        )


class LastWords:
    """What one child after the other says of its end."""

    def __init__(self) -> None:
        self._read_fd, self.write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)

    def read(self) -> str:
        """Return what was said since the last time, in one line."""
        with suppress(BlockingIOError):
            said = os.read(self._read_fd, _MAX_WORDS_BYTES).decode(errors="replace")
            return "; ".join(line for line in said.splitlines() if line.strip())
        return ""

    def close(self) -> None:
        """Close both ends."""
        os.close(self.write_fd)
        os.close(self._read_fd)


def die_with_parent() -> None:
    """Have this process die with the one that started it; nothing, if that one gave us no lifeline."""
    descriptor, words = _take_descriptor(_VARIABLE), _take_descriptor(_WORDS_VARIABLE)
    if words is not None:
        os.set_blocking(words, False)
        _words_fds.append(words)
    if descriptor is not None:
        threading.Thread(target=_wait_for_the_end, args=(descriptor,), name="lifeline", daemon=True).start()


def leave_words(text: str) -> None:
    """Tell whoever started us why we are about to end, if anybody listens. Fit for a signal handler."""
    line = " ".join(text.split()).encode(errors="replace")[: _MAX_WORDS_BYTES // 2] + b"\n"
    for descriptor in _words_fds:
        with suppress(OSError):
            os.write(descriptor, line)


_words_fds: list[int] = []
"""Where our own last words go: none or one."""


def _take_descriptor(variable: str) -> int | None:
    """Return what whoever started us has opened for us alone."""
    value = os.environ.pop(variable, "")
    if not value.isdecimal():
        return None
    os.set_inheritable(int(value), False)
    return int(value)


def _wait_for_the_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
