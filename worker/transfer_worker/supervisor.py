"""Keeps a worker running.

A busy Celery 5.7 worker ends when Redis goes away, so whoever starts one must start it again. ::

    we ──── celery worker     a session of its own: Ctrl-C in the terminal reaches us, not it
            │ ends unasked       -> started again after 0.2, 0.4, 0.8 … 5 s
            │ ends with 2        -> so do we: the settings are wrong, another start won't mend them
    SIGTERM, SIGINT, SIGHUP      -> SIGTERM to it: transfers in flight finish; ours is exit code 0
    a second one                 -> SIGKILL to it: the ledger and the other workers settle what it held
    SIGKILL to us                -> it reads the end of its lifeline, and is gone at once as well
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from transfer_worker import logs
from transfer_worker.lifeline import Lifeline
from transfer_worker.settings import WorkerSettings

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

FIRST_WAIT_SECONDS: Final = 0.2
MAX_WAIT_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
"""A child that ran for so long was well; the next wait is the first one again."""

EXIT_FORCED: Final = 1
EXIT_MISCONFIGURED: Final = 2

_CHILD_ENDED: Final = 0
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Log(Protocol):
    """Where the lines go."""

    def warning(self, event: str, **fields: object) -> object:
        """Write one line."""


class Supervisor:
    """Runs one child at a time until it is asked to stop.

    Args:
        command: The child's program; it has to follow its lifeline.
        env: The child's environment.
        log: Where it is told that the child was started again.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], log: Log) -> None:
        self._command, self._env, self._log = command, env, log
        self._stop_count = 0
        self._events = self._wake_up = -1

    def run(self) -> int:
        """Keep the child running; return the exit code for our own process. For a main thread only."""
        wait_seconds = FIRST_WAIT_SECONDS
        with self._catching_signals(), Lifeline() as lifeline:
            while True:
                started_at = time.monotonic()
                exit_code = self._watch(lifeline.spawn(self._command, env=self._env))
                if self._stop_count:
                    return 0 if exit_code in {0, -signal.SIGTERM} else EXIT_FORCED
                if exit_code == EXIT_MISCONFIGURED:
                    return exit_code
                if time.monotonic() - started_at >= STEADY_SECONDS:
                    wait_seconds = FIRST_WAIT_SECONDS
                self._log.warning("worker.restarted", exit_code=exit_code, wait_seconds=wait_seconds)
                if self._is_stopped_within(wait_seconds):
                    return 0
                wait_seconds = min(2 * wait_seconds, MAX_WAIT_SECONDS)

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """Return the child's exit code; pass on what we are asked meanwhile."""
        wake_up = self._wake_up

        def wait_for_its_end() -> None:
            child.wait()
            os.write(wake_up, bytes([_CHILD_ENDED]))

        threading.Thread(target=wait_for_its_end, name="child", daemon=True).start()
        while self._next_event(None) != _CHILD_ENDED:
            if self._stop_count == 1:
                child.terminate()
            elif self._stop_count:
                child.kill()
        return child.wait()

    def _is_stopped_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._stop_count and (left := until - time.monotonic()) > 0:
            self._next_event(left)
        return self._stop_count > 0

    def _next_event(self, timeout_seconds: float | None) -> int | None:
        """Return a signal's number or `_CHILD_ENDED`, in the order in which they came; None if none came."""
        if not select.select([self._events], [], [], timeout_seconds)[0]:
            return None
        event = os.read(self._events, 1)[0]
        self._stop_count += event in _STOP_SIGNALS
        return event

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """Have each signal write its number into a pipe.

        A handler in Python would not do: the kernel may deliver a signal on another thread than the main one,
        which then goes on waiting.
        """
        self._events, self._wake_up = os.pipe()
        os.set_blocking(self._wake_up, False)
        fd_before = signal.set_wakeup_fd(self._wake_up)
        # What whoever started us had us ignore (nohup: SIGHUP), stays ignored.
        caught = [number for number in _STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda *_: None) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)
            os.close(self._wake_up)
            os.close(self._events)


def supervise_worker(*, concurrency: int | None = None, log_level: str | None = None) -> int:
    """Keep a worker running until we are asked to stop; return the exit code.

    Args:
        concurrency: Instead of the settings'.
        log_level: Instead of the settings'.

    Raises:
        SettingsError: The settings are wrong; no worker was started.
    """
    env = dict(os.environ)
    if concurrency is not None:
        env["TRANSFER_CONCURRENCY"] = str(concurrency)
    if log_level is not None:
        env["TRANSFER_LOG_LEVEL"] = log_level
    settings = WorkerSettings.load()
    logs.configure(level="INFO", secrets=settings.secrets)
    command = worker_command(
        concurrency=concurrency or settings.concurrency, log_level=log_level or settings.log_level
    )
    return Supervisor(command, env=env, log=structlog.get_logger("supervisor")).run()


def worker_command(*, concurrency: int, log_level: str) -> list[str]:
    """Return the Celery command of one worker process.

    It bears our process id: it keeps its name over restarts, and two on one host don't clash.
    """
    return [
        sys.executable,
        "-m",
        "transfer_worker.celery_command",
        "--quiet",  # the banner; the log says what matters
        "-A",
        "transfer_worker",
        "worker",
        "--hostname",
        f"transfer-{os.getpid()}@%h",
        "--concurrency",
        str(concurrency),
        "--loglevel",
        log_level,
        # Asks the other workers for news at the start, and waits a second for it; we need none.
        "--without-mingle",
        # Listens to all that the other workers do. The heartbeats that count are the ledger's; Celery's own
        # stay on, because Flower tells by them who is there.
        "--without-gossip",
    ]
