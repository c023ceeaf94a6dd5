"""How a worker process ends: by a signal, by what one of its start's steps raises, by a thread that dies.

Celery 5.7 does each in a way that a worker of ours must not take part in, and so we do it ourselves::

    SIGTERM, SIGINT, SIGHUP   no more messages; transfers in flight finish; exit code 0. Again and again the
                              same: a service manager tells all processes, and then our supervisor tells us.
    SIGINT a second time      at once, exit code 1: Ctrl-C twice, in the terminal of Celery alone
    SIGQUIT                   at once, exit code 1; the ledger and the other workers settle what was in flight
    SIGUSR1                   the stack of every thread, on stderr; the work goes on
    SIGUSR2                   nothing
    ignored when we started   nothing (nohup: SIGHUP)

What Celery would do (celery/apps/worker.py): on SIGHUP, even where it was ignored, execute its program anew,
with every descriptor closed, the lifeline among them; on SIGQUIT, give messages back whose transfers still
are being sent; on SIGUSR2, if CELERY_RDBSIG is set, open a debugger's port and stop in it; on SIGTERM, if
REMAP_SIGTERM says so, what it does on SIGQUIT. And it logs what a handler of its start and end raises, and
goes on without it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import threading
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery import Celery
from celery.apps.worker import Worker
from celery.worker import state

from transfer_worker.audit.outbox import program
from transfer_worker.exit_codes import Exit
from transfer_worker.runtime.lifeline import leave_words

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_STDOUT: Final = 1
_STDERR: Final = 2


class _Phase:
    """How far this process is.

    Attributes:
        can_finish: There is a consumer, or there will be, that looks whether it is to stop.
        is_stopping: It was asked to.
    """

    can_finish = False
    is_stopping = False


class SignalledWorker(Worker):  # type: ignore[misc]  # Celery has no types
    """Celery's worker with our signal handlers alone."""

    def install_platform_tweaks(self, worker: Any) -> None:
        """Have signals stop the consumer from now on.

        Celery's method installs its handlers for SIGHUP, SIGTERM, SIGQUIT, SIGINT, SIGUSR1 and SIGUSR2. (On
        macOS, it also spares the children of a pool of processes a look at the proxies.)
        """
        _Phase.can_finish = True

    def emit_banner(self) -> None:
        """Print nothing. Celery's own is twenty lines of text among JSON; `worker.started` says it."""


class WorkerApp(Celery):  # type: ignore[misc]  # Celery has no types
    """Celery's app, whose worker is a `SignalledWorker`."""

    @property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """Celery's command line makes its worker of it."""
        return self.subclass_with_self(SignalledWorker, name="Worker")


def handle_signals() -> None:
    """Install the handlers. What whoever started us had us ignore, stays ignored. For a main thread only."""
    for number in (*STOP_SIGNALS, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    if signal.getsignal(signal.SIGUSR1) is not signal.SIG_IGN:
        # In C: it tells where threads are even if none of them gets to run any Python.
        faulthandler.register(signal.SIGUSR1, file=_STDERR, all_threads=True)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _stop(number: int, _frame: object) -> None:
    name = signal.Signals(number).name
    is_second_ctrl_c = number == signal.SIGINT and _Phase.is_stopping
    if number == signal.SIGQUIT or is_second_ctrl_c:
        _say("worker.ended_at_once", signal=name)
        leave_words(f"ended at once by {name}")
        os._exit(Exit.FAILED)
    if not _Phase.is_stopping:
        _Phase.is_stopping = True
        _say("worker.stopping", signal=name)
        leave_words(f"asked to stop by {name}")
    if not _Phase.can_finish:  # nothing is in flight: it waits for Redis, say
        os._exit(Exit.OK)
    stop_gracefully(Exit.OK)


def stop_gracefully(exit_code: Exit) -> None:
    """Have the consumer take no more messages, wait for the transfers in flight, and end the process."""
    if not state.should_stop:  # what went wrong first is told
        state.should_stop = int(exit_code)


def _say(event: str, **fields: str) -> None:
    """Write a log line from within a signal handler, where the log's locks may be held already."""
    about = {"level": "info", "timestamp": datetime.now(UTC).isoformat(), **program()}
    line = {"event": event, **fields, **about}
    with suppress(OSError):
        os.write(_STDOUT, json.dumps(line).encode() + b"\n")


def ends_the_process(handler: Callable[..., None]) -> Callable[..., None]:
    """Have whatever a handler of Celery's signals raises end the process, with words and a code.

    Celery's dispatcher (5.7, celery/utils/dispatch/signal.py) logs it, and the worker takes messages that it
    can't carry out. It lets `SystemExit` through.
    """

    @wraps(handler)
    def handle(**arguments: Any) -> None:
        try:
            handler(**arguments)
        except Exception as error:
            words = f"{handler.__name__.strip('_')}: {type(error).__name__}: {error}"
            structlog.get_logger("transfer_worker").error("worker.failed", cause=words, exc_info=error)
            leave_words(words)
            raise SystemExit(Exit.FAILED) from error

    return handle


def end_with_any_thread() -> None:
    """Have the process stop gracefully, with exit code 1, when an exception ends one of its threads.

    Half a worker is worse than none: without heartbeats, say, it goes on taking messages.
    """
    threading.excepthook = _end_with_thread


def _end_with_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    words = f"thread {arguments.thread.name if arguments.thread else '?'}: {type(error).__name__}: {error}"
    structlog.get_logger("transfer_worker").error("worker.failed", cause=words, exc_info=error)
    leave_words(words)
    stop_gracefully(Exit.FAILED)
