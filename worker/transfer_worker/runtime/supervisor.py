"""Keeps the processes of a worker running.

A busy Celery 5.7 worker ends when Redis goes away, so whoever starts one must start it again. ::

    we ─┬── celery worker     sessions of their own: Ctrl-C in the terminal reaches us, not them
        └── celery worker
              │ ends unasked    -> started again after 0.2, 0.4, 0.8 … 5 s; the others run on meanwhile
              │ ends with 2     -> SIGTERM to the others, then so do we: the settings are wrong, another start
              │                    won't fix them
    SIGTERM, SIGINT, SIGHUP     -> SIGTERM to all: transfers in flight finish; ours is exit code 0
    a second one, or SIGQUIT    -> SIGKILL to all: the ledger and the other workers settle what they held
    SIGUSR1                     -> SIGUSR1 to all: they write the stacks of their threads
    SIGUSR2                     -> nothing
    SIGKILL to us               -> they read the end of their lifeline, and are gone at once as well
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from transfer_worker.exit_codes import Exit
from transfer_worker.runtime.lifeline import RESTARTS_VARIABLE, LastWords, Lifeline
from transfer_worker.runtime.process_split import spread_slots
from transfer_worker.settings import WorkerSettings

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

FIRST_WAIT_SECONDS: Final = 0.2
MAX_WAIT_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
"""A child that ran for so long was well; its next wait is the first one again."""

EXIT_FORCED: Final = 1

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_OBEYED: Final = (*_STOP_SIGNALS, signal.SIGQUIT, signal.SIGUSR1)
_CLEAN_ENDS: Final = (0, -signal.SIGTERM)


class Log(Protocol):
    """Where the lines go."""

    def warning(self, event: str, **fields: object) -> object:
        """Write one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child runs.

    Attributes:
        name: What the log calls it.
        command: The program, which has to follow its lifeline.
        env: Its whole environment.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str]


class _Child:
    """One of those that are kept running: it runs, or it is due to.

    Attributes:
        due_at: When it is to be started, by the monotonic clock, if it does not run.
    """

    def __init__(self, program: Program, *, lifeline: Lifeline) -> None:
        self.program, self._lifeline = program, lifeline
        self._words = LastWords()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self.due_at = time.monotonic()
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._starts = 0

    @property
    def is_running(self) -> bool:
        """Whether it runs, as far as we have looked."""
        return self._process is not None

    def start(self) -> None:
        self._started_at = time.monotonic()
        env = {**self.program.env, RESTARTS_VARIABLE: str(self._starts)}
        self._starts += 1
        self._process = self._lifeline.spawn(self.program.command, env=env, words=self._words)

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def collect(self) -> int | None:
        """Return its exit code if it has ended since we last looked."""
        exit_code = self._process.poll() if self._process is not None else None
        if exit_code is not None:
            self._process = None
        return exit_code

    def explain(self, exit_code: int) -> str:
        """Return why it ended, as far as it is known."""
        ended_by = [f"ended by {_name_signal(-exit_code)}"] if exit_code < 0 else []
        return "; ".join([*filter(None, [self._words.read()]), *ended_by]) or "it did not say"

    def close(self) -> None:
        """Let go of what it might have said."""
        self._words.close()

    def plan_start(self) -> float:
        """Have it be due after a wait, which grows until it has run well; return the wait in seconds."""
        now = time.monotonic()
        if now - self._started_at >= STEADY_SECONDS:
            self._wait_seconds = FIRST_WAIT_SECONDS
        wait_seconds, self._wait_seconds = self._wait_seconds, min(2 * self._wait_seconds, MAX_WAIT_SECONDS)
        self.due_at = now + wait_seconds
        return wait_seconds


class Supervisor:
    """Runs its children until it is asked to stop; each supervisor runs once.

    Args:
        programs: One for each child.
        make_log: Makes what is told that a child is started again, while the children start.
    """

    def __init__(self, programs: Sequence[Program], *, make_log: Callable[[], Log]) -> None:
        self._programs, self._make_log = programs, make_log
        self._children: list[_Child] = []
        self._exit_code: int | None = None  # None while we are to run
        self._is_stopping = False  # because we were asked to
        self._signals = self._wake_up = -1

    def run(self) -> int:
        """Keep the children running; return the exit code for our own process. For a main thread only."""
        with self._catching_signals(), Lifeline() as lifeline, ExitStack() as at_the_end:
            self._children = [_Child(program, lifeline=lifeline) for program in self._programs]
            for child in self._children:
                at_the_end.callback(child.close)
            self._start_due()
            self._log = self._make_log()
            while self._exit_code is None or any(child.is_running for child in self._children):
                if self._exit_code is None:
                    self._start_due()
                self._obey(self._next_signal())
                for child in self._children:
                    if (exit_code := child.collect()) is not None:
                        self._follow_up(child, exit_code)
            return self._exit_code

    def _start_due(self) -> None:
        for child in self._children:
            if not child.is_running and child.due_at <= time.monotonic():
                child.start()

    def _obey(self, number: int | None) -> None:
        if number == signal.SIGUSR1:
            self._send(signal.SIGUSR1)
        elif number in _STOP_SIGNALS or number == signal.SIGQUIT:
            at_once = number == signal.SIGQUIT or self._is_stopping
            self._is_stopping = True
            self._exit_code = self._exit_code or 0
            self._send(signal.SIGKILL if at_once else signal.SIGTERM)

    def _follow_up(self, child: _Child, exit_code: int) -> None:
        """Do what follows from the end of a child."""
        if self._exit_code is not None:
            if exit_code not in _CLEAN_ENDS:
                self._exit_code = self._exit_code or EXIT_FORCED
        elif exit_code == Exit.USAGE:
            self._exit_code = exit_code
            self._send(signal.SIGTERM)
        else:
            self._log.warning(
                "worker.restarted",
                worker=child.program.name,
                exit_code=exit_code,
                why=child.explain(exit_code),
                wait_seconds=child.plan_start(),
            )

    def _send(self, number: signal.Signals) -> None:
        for child in self._children:
            child.send(number)

    def _next_signal(self) -> int | None:
        """Return the number of the next signal, in the order they came; None if a child is due first."""
        timeout_seconds = None
        if self._exit_code is None:
            due = [child.due_at for child in self._children if not child.is_running]
            timeout_seconds = max(0.0, min(due) - time.monotonic()) if due else None
        if not select.select([self._signals], [], [], timeout_seconds)[0]:
            return None
        return os.read(self._signals, 1)[0]

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """Have each signal write its number into a pipe, that of a child's end too.

        A handler in Python would not do: the kernel may deliver a signal on another thread than the main one,
        which then goes on waiting.
        """
        self._signals, self._wake_up = os.pipe()
        os.set_blocking(self._wake_up, False)
        fd_before = signal.set_wakeup_fd(self._wake_up)
        # What whoever started us had us ignore (nohup: SIGHUP), stays ignored.
        caught = [number for number in _OBEYED if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, lambda *_: None) for number in (*caught, signal.SIGCHLD)}
        before[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)
            os.close(self._wake_up)
            os.close(self._signals)


def supervise_worker(
    *, concurrency: int | None = None, processes: int | None = None, log_level: str | None = None
) -> int:
    """Keep a worker running until we are asked to stop; return the exit code.

    Args:
        concurrency: Instead of the settings'.
        processes: Instead of the settings'.
        log_level: Instead of the settings'.

    Raises:
        SettingsError: The settings are wrong; no worker was started.
    """
    settings = WorkerSettings.load(concurrency=concurrency, processes=processes, log_level=log_level)
    return Supervisor(list_programs(settings), make_log=partial(_make_log, settings)).run()


def _make_log(settings: WorkerSettings) -> Log:
    # Half of all that we import; nobody who waits for a transfer waits for it.
    import structlog

    from transfer_worker.audit import logs

    logs.configure(level="INFO", secrets=settings.secrets)
    log: Log = structlog.get_logger("supervisor")
    return log


def list_programs(settings: WorkerSettings) -> list[Program]:
    """Return what the processes of a worker run, each with its share of the slots.

    Their names bear our process id: they stay over restarts, and two workers on one host don't clash.
    """
    shares, ours = spread_slots(settings), f"transfer-{os.getpid()}"
    names = [ours] if len(shares) == 1 else [f"{ours}-{number}" for number, _ in enumerate(shares, start=1)]
    return [
        Program(
            name=name,
            command=_celery_command(name),
            env={
                **os.environ,
                "TRANSFER_CONCURRENCY": str(share),
                "TRANSFER_PROCESSES": "1",
                "TRANSFER_LOG_LEVEL": settings.log_level,
            },
        )
        for name, share in zip(names, shares, strict=True)
    ]


def _name_signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _celery_command(name: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "transfer_worker.runtime.celery_command",
        "worker",
        f"{name}@%h",
    ]
