"""The supervisor with small children of its own: when it starts another, and how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from support import wait_until
from transfer_worker import supervisor
from transfer_worker.lifeline import Lifeline
from transfer_worker.supervisor import EXIT_FORCED, EXIT_MISCONFIGURED, Supervisor

COUNT = """
import pathlib, sys
runs = pathlib.Path(sys.argv[1])
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
codes = [int(code) for code in sys.argv[2].split(",")]
sys.exit(codes[len(runs.read_text()) - 1])
"""
LINGER = """
import pathlib, signal, sys, time
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[2])))
pathlib.Path(sys.argv[1]).touch()
while True:
    time.sleep(60)
"""
ORPHAN = """
import pathlib, sys, time
from transfer_worker.lifeline import die_with_parent
die_with_parent()
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


class Lines:
    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append((event, fields))


def supervise(*arguments):
    log = Lines()
    command = [sys.executable, "-c", *map(str, arguments)]
    return Supervisor(command, env=dict(os.environ), log=log), log


def when(path, *numbers):
    """Send us signals once the child is ready."""

    def send():
        wait_until(path.exists)
        for number in numbers:
            os.kill(os.getpid(), number)

    threading.Thread(target=send).start()


def test_a_child_that_ends_unasked_is_started_again_with_growing_waits(tmp_path):
    # Exit code 0 as well: nobody asked us. And 2 is final, or this test would not end.
    asked, log = supervise(COUNT, tmp_path / "runs", "1,0,1,2")
    assert asked.run() == EXIT_MISCONFIGURED
    assert log.lines == [
        ("worker.restarted", {"exit_code": 1, "wait_seconds": 0.2}),
        ("worker.restarted", {"exit_code": 0, "wait_seconds": 0.4}),
        ("worker.restarted", {"exit_code": 1, "wait_seconds": 0.8}),
    ]


def test_waits_begin_anew_after_a_child_that_ran_well_and_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "MAX_WAIT_SECONDS", 0.03)
    asked, log = supervise(COUNT, tmp_path / "runs", "1,1,1,2")
    asked.run()
    assert [fields["wait_seconds"] for _, fields in log.lines] == [0.01, 0.02, 0.03]
    monkeypatch.setattr(supervisor, "STEADY_SECONDS", 0.0)
    asked, log = supervise(COUNT, tmp_path / "more-runs", "1,1,1,2")
    asked.run()
    assert [fields["wait_seconds"] for _, fields in log.lines] == [0.01, 0.01, 0.01]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_passed_on_as_sigterm_and_a_clean_end_is_exit_code_0(tmp_path, number):
    asked, log = supervise(LINGER, tmp_path / "ready", 0)
    when(tmp_path / "ready", number)
    assert asked.run() == 0
    assert log.lines == []


def test_a_child_that_fails_while_it_stops_is_not_a_clean_end(tmp_path):
    asked, _ = supervise(LINGER, tmp_path / "ready", 3)
    when(tmp_path / "ready", signal.SIGTERM)
    assert asked.run() == EXIT_FORCED


def test_a_second_signal_ends_a_child_that_does_not_stop(tmp_path):
    # At once after the first: the kernel may then deliver it on another thread than the main one.
    for attempt in range(5):
        asked, _ = supervise(LINGER, tmp_path / f"ready-{attempt}", "stubborn")
        when(tmp_path / f"ready-{attempt}", signal.SIGTERM, signal.SIGINT)
        assert asked.run() == EXIT_FORCED


def test_a_signal_between_two_children_ends_it_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT_SECONDS", 60.0)
    asked, _ = supervise(COUNT, tmp_path / "runs", "1,1")
    when(tmp_path / "runs", signal.SIGTERM)
    assert asked.run() in {0, EXIT_FORCED}  # the signal may find the first child still ending
    assert (tmp_path / "runs").read_text() == "x"


def test_signal_handlers_are_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    asked, _ = supervise(COUNT, tmp_path / "runs", "2")
    asked.run()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_child_is_gone_with_the_other_end_of_its_lifeline(tmp_path):
    with Lifeline() as lifeline:
        child = lifeline.spawn(
            [sys.executable, "-c", ORPHAN, str(tmp_path / "ready")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        wait_until((tmp_path / "ready").exists)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
    assert child.wait(5) == -signal.SIGKILL
