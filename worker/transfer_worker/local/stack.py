"""What `demo` and `up` run: Redis, sandbox, worker, Flower; started in this order, ended in the reverse."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from transfer_worker import monitoring
from transfer_worker.errors import TransferWorkerError
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.runtime.lifeline import Lifeline
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START_SECONDS: Final = 20.0
DRAIN_SECONDS: Final = 15.0
"""How long a child may take to end gracefully; longer than the longest HTTP request."""

_FLOWER_CONF: Final = Path(monitoring.__file__).with_name("flowerconfig.py")
_POLL_SECONDS: Final = 0.02
_PROCESS_IS_READY: Final = r'"(transfer-[\d-]+@\S+) ready\."'


class ChildFailed(TransferWorkerError):
    """A process that we need has ended, or never came up.

    Attributes:
        exit_code: Its exit code; None if it runs, and is not ready.
        log_tail: The last lines that it wrote.
    """

    def __init__(self, *, name: str, exit_code: int | None, log_tail: str) -> None:
        self.name, self.exit_code, self.log_tail = name, exit_code, log_tail
        problem = f"is not ready after {START_SECONDS:g} s" if exit_code is None else f"ended ({exit_code})"
        super().__init__(f"The {name} {problem}. The end of what it wrote:\n{log_tail}")


class Child:
    """A process of the stack, whose output goes to a file."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], *, log_path: Path) -> None:
        self.name, self.process, self.log_path = name, process, log_path

    def check(self) -> None:
        """Raise `ChildFailed` if it has ended."""
        if self.process.poll() is not None:
            raise ChildFailed(name=self.name, exit_code=self.process.returncode, log_tail=self.read_tail())

    def wait_for_output(self, pattern: str, *, count: int) -> None:
        """Return once its output has `count` matches of `pattern` that differ.

        Raises:
            ChildFailed: It ended, or took too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while len(set(re.findall(pattern, self.log_path.read_text("utf-8", "replace")))) < count:
            self.check()
            if time.monotonic() >= deadline:
                raise ChildFailed(name=self.name, exit_code=None, log_tail=self.read_tail())
            time.sleep(_POLL_SECONDS)

    def read_tail(self, *, lines: int = 12) -> str:
        """Return the end of what it wrote."""
        return "\n".join(self.log_path.read_text("utf-8", "replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End it gracefully; an interrupt meanwhile ends it at once."""
        self.process.terminate()
        try:
            self._end_within(DRAIN_SECONDS)
        except KeyboardInterrupt:
            self.process.terminate()
            self._end_within(1.0)
            raise

    def _end_within(self, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        if self.process.poll() is None:
            self.process.kill()  # what it started follows its lifeline
            self.process.wait()


class Stack:
    """The processes of one `demo` or `up`. A context manager: leaving it ends them, the last one first.

    Args:
        log_dir: Where the children's output goes.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._entered = ExitStack()
        self._lifeline = self._entered.enter_context(Lifeline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def add_redis(self, data_dir: Path | None = None) -> EmbeddedRedis:
        """Start a Redis of our own."""
        return self._entered.enter_context(EmbeddedRedis(data_dir))

    def add_sandbox(self, port: int = 0) -> SandboxServer:
        """Start the sandbox, on a thread; on any free port unless one is given."""
        return self._entered.enter_context(SandboxServer(port=port))

    def add_worker(self, *, env: Mapping[str, str], process_count: int = 1, cwd: Path | None = None) -> Child:
        """Start `call-transfer worker` and return once it consumes.

        Args:
            env: Its whole environment.
            process_count: How many processes it has by its settings; each of them must consume.
            cwd: Where it runs; here unless given.

        Raises:
            ChildFailed: It does not come up.
        """
        worker = self._add_child("worker", [sys.executable, "-m", "transfer_worker", "worker"], env, cwd)
        worker.wait_for_output(_PROCESS_IS_READY, count=process_count)
        return worker

    def add_flower(self, *, env: Mapping[str, str], port: int) -> Child:
        """Start Flower on 127.0.0.1 and return once it listens.

        Raises:
            ChildFailed: It does not come up.
        """
        celery = [sys.executable, "-m", "transfer_worker.runtime.celery_command"]
        command = [*celery, "-A", "transfer_worker", "flower"]
        flower = self._add_child(
            "flower",
            [*command, f"--conf={_FLOWER_CONF}", "--address=127.0.0.1", f"--port={port}"],
            env,
        )
        deadline = time.monotonic() + START_SECONDS
        while not is_listening(port):
            flower.check()
            if time.monotonic() >= deadline:
                raise ChildFailed(name=flower.name, exit_code=None, log_tail=flower.read_tail())
            time.sleep(_POLL_SECONDS)
        return flower

    def _add_child(
        self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None
    ) -> Child:
        log_path = self._log_dir / f"{name}.log"
        with log_path.open("wb") as output:
            process = self._lifeline.spawn(
                command, env={**env, "PYTHONUNBUFFERED": "1"}, cwd=cwd, output=output
            )
        child = Child(name, process, log_path=log_path)
        self._entered.callback(child.stop)
        return child


def pick_port(wanted: int) -> int:
    """Return `wanted` if nobody listens there, else a free port."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


def is_listening(port: int) -> bool:
    """Say whether somebody listens at this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def without_settings(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without any setting of ours, of Piopiy's or of Flower's."""
    return {
        name: value
        for name, value in (os.environ if env is None else env).items()
        if not name.startswith(("TRANSFER_", "PIOPIY_", "FLOWER_"))
    }
