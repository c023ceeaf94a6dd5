"""What the start and the end of a worker process stand on in Celery 5.7, beside what we replace."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys

import pytest
from celery.apps import worker as celery_worker
from celery.utils.dispatch import Signal
from celery.worker import state

from transfer_worker.runtime import celery_app
from transfer_worker.runtime.ending import SignalledWorker


def test_a_signal_handler_of_ours_may_end_the_process_but_not_by_any_exception():
    # `ends_the_process` is needed as long as this holds.
    dispatcher = Signal(name="start")

    def fail(**_):
        raise PermissionError("no audit file")

    dispatcher.connect(fail, weak=False)
    ((_, raised),) = dispatcher.send(sender=None)
    assert isinstance(raised, PermissionError)

    def leave(**_):
        raise SystemExit(1)

    dispatcher.connect(leave, weak=False)
    with pytest.raises(SystemExit):
        dispatcher.send(sender=None)


def test_celery_makes_its_worker_of_our_class():
    assert issubclass(celery_app.app.Worker, SignalledWorker)
    assert celery_app.app.Worker.app is celery_app.app


def test_the_consumer_stops_gracefully_by_one_variable(monkeypatch):
    for exit_code in (0, 1):
        monkeypatch.setattr(state, "should_stop", exit_code)
        with pytest.raises(SystemExit) as ended:
            state.maybe_shutdown()
        assert ended.value.code == exit_code
    monkeypatch.setattr(state, "should_stop", None)
    state.maybe_shutdown()


def test_celery_handles_these_signals_and_no_others():
    # Each has a row in docs/on-call.md; a new one needs one, and a test in tests/integration/test_signals.py.
    source = inspect.getsource(celery_worker)
    assert set(re.findall(r"SIG[A-Z]+[0-9]?", source)) - {"SIG"} == {
        "SIGTERM", "SIGQUIT", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2",
    }  # fmt: skip


def test_importing_celery_and_our_app_installs_no_handler():
    program = (
        "import signal\n"
        "before = {number: signal.getsignal(number) for number in signal.Signals}\n"
        "import transfer_worker.runtime.celery_app\n"
        "assert before == {number: signal.getsignal(number) for number in signal.Signals}\n"
    )
    environment = {**os.environ, "TRANSFER_REDIS_URL": "redis://127.0.0.1:1/0"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
