"""Children that don't outlive us, however we end.

A child inherits the reading end of a pipe whose writing end only we hold. When we are gone without having
ended it, by SIGKILL say, it reads the pipe's end and is gone at once as well: `kill -9` of the command is
`kill -9` of the worker, and the ledger settles what it held.

The children are Python programs that call `die_with_parent`. A foreign program needs a watchdog instead
(`embedded_redis`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_VARIABLE: Final = "CALL_TRANSFER_LIFELINE"


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
    ) -> subprocess.Popen[bytes]:
        """Start a child in a session of its own, so that Ctrl-C in the terminal reaches us and not it.

        Args:
            command: The program, which has to call `die_with_parent`.
            env: Its whole environment.
            cwd: Where it runs; here unless given.
            output: Where stdout and stderr go; ours unless given.
        """
        return subprocess.Popen(  # noqa: S603 - the commands are those of this package
            command,
            env={**env, _VARIABLE: str(self._read_fd)},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(self._read_fd,),
        )


def die_with_parent() -> None:
    """Have this process die with the one that started it; nothing, if that one gave us no lifeline."""
    descriptor = os.environ.pop(_VARIABLE, "")
    if descriptor.isdecimal():
        os.set_inheritable(int(descriptor), False)
        threading.Thread(
            target=_wait_for_the_end, args=(int(descriptor),), name="lifeline", daemon=True
        ).start()


def _wait_for_the_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
