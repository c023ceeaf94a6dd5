"""The supervisor with small children of its own: when it starts one again, and how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from support import has_ended, wait_until
from transfer_worker.exit_codes import Exit
from transfer_worker.runtime import supervisor
from transfer_worker.runtime.lifeline import Lifeline
from transfer_worker.runtime.supervisor import (
    EXIT_FORCED,
    Program,
    Supervisor,
    list_programs,
)
from transfer_worker.settings import WorkerSettings

COUNT = """
import pathlib, sys
runs = pathlib.Path(sys.argv[1])
written = runs.with_suffix(".written")
written.write_text(runs.read_text() + "x" if runs.exists() else "x")
written.replace(runs)  # at once: who waits for it to exist may end us right then
codes = [int(code) for code in sys.argv[2].split(",")]
sys.exit(codes[len(runs.read_text()) - 1])
"""
LINGER = """
import os, pathlib, signal, sys, time
from transfer_worker.runtime.lifeline import die_with_parent
die_with_parent()
ready, code = pathlib.Path(sys.argv[1]), sys.argv[2]
def end(*_):
    ready.with_suffix(".stopped").touch()
    if code != "stubborn":
        sys.exit(int(code))
signal.signal(signal.SIGTERM, end)
with ready.with_suffix(".starts").open("a") as starts:
    starts.write(f"{os.getpid()} ")
ready.touch()
while True:
    time.sleep(60)
"""
EXPLAIN = """
import os, pathlib, signal, sys
from transfer_worker.runtime.lifeline import die_with_parent, leave_words
die_with_parent()
with pathlib.Path(sys.argv[1]).open("a") as runs:
    runs.write("x")
match len(pathlib.Path(sys.argv[1]).read_text()):
    case 1:
        leave_words("no disk\\n  under it")
        leave_words("x" * 100_000)
        sys.exit(1)
    case 2:
        os.kill(os.getpid(), signal.SIGKILL)
    case 3:
        leave_words("Redis went away")
        os.kill(os.getpid(), signal.SIGKILL)
    case 4:
        sys.exit(0)
sys.exit(2)
"""
WAIT_AND_END = """
import pathlib, sys, time
while not all(pathlib.Path(path).exists() for path in sys.argv[2:]):
    time.sleep(0.01)
sys.exit(int(sys.argv[1]))
"""
ORPHAN = """
import pathlib, sys, time
from transfer_worker.runtime.lifeline import die_with_parent
die_with_parent()
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""

WITH_OUR_PATH = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Lines:
    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append((event, fields))


def supervise(*children):
    """Return a supervisor of children w1, w2, …, each given by its program and arguments, and its log."""
    log = Lines()
    programs = [
        Program(name=f"w{number}", command=[sys.executable, "-c", *map(str, child)], env=WITH_OUR_PATH)
        for number, child in enumerate(children, start=1)
    ]
    return Supervisor(programs, make_log=lambda: log), log


def when(paths, *numbers):
    """Send us signals once all the children are ready."""

    def send():
        wait_until(lambda: all(path.exists() for path in paths))
        for number in numbers:
            os.kill(os.getpid(), number)

    threading.Thread(target=send).start()


def waits(log, name):
    """Return how long a child waited before each new start, in seconds."""
    return [fields["wait_seconds"] for _, fields in log.lines if fields["worker"] == name]


def test_a_child_that_ends_unasked_is_started_again_with_growing_waits(tmp_path):
    # Exit code 0 as well: nobody asked us. And 2 is final, or this test would not end.
    asked, log = supervise((COUNT, tmp_path / "runs", "1,0,1,2"))
    assert asked.run() == Exit.USAGE
    assert log.lines == [
        ("worker.restarted", {"worker": "w1", "exit_code": 1, "why": "it did not say", "wait_seconds": 0.2}),
        ("worker.restarted", {"worker": "w1", "exit_code": 0, "why": "it did not say", "wait_seconds": 0.4}),
        ("worker.restarted", {"worker": "w1", "exit_code": 1, "why": "it did not say", "wait_seconds": 0.8}),
    ]


def test_the_line_about_a_new_start_says_why_the_child_ended_as_far_as_it_said(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT_SECONDS", 0.01)
    asked, log = supervise((EXPLAIN, tmp_path / "runs"))
    assert asked.run() == Exit.USAGE
    said, killed, both, silent = (fields["why"] for _, fields in log.lines)
    assert said.startswith("no disk under it; xxx")
    assert len(said) < 1000
    assert (killed, both) == ("ended by SIGKILL", "Redis went away; ended by SIGKILL")
    assert silent == "it did not say"


def test_sigquit_ends_all_at_once_and_sigusr1_is_passed_on(ready):
    asked, log = supervise(*((LINGER, path, "stubborn") for path in ready))
    when(ready, signal.SIGUSR2, signal.SIGQUIT)
    assert asked.run() == EXIT_FORCED
    assert not any(path.with_suffix(".stopped").exists() for path in ready)
    assert all(has_ended(pid) for path in ready for pid in starts(path))
    asked, log = supervise((LINGER, ready[0].with_suffix(".again"), 0))

    def explain_and_stop():
        wait_until(lambda: ready[0].with_suffix(".again").exists())
        os.kill(os.getpid(), signal.SIGUSR1)  # this one has no handler
        wait_until(lambda: log.lines)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=explain_and_stop).start()
    assert asked.run() in {0, EXIT_FORCED}
    assert log.lines[0][1]["why"] == "ended by SIGUSR1"


def test_waits_begin_anew_after_a_child_that_ran_well_and_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "MAX_WAIT_SECONDS", 0.03)
    asked, log = supervise((COUNT, tmp_path / "runs", "1,1,1,2"))
    asked.run()
    assert waits(log, "w1") == [0.01, 0.02, 0.03]
    monkeypatch.setattr(supervisor, "STEADY_SECONDS", 0.0)
    asked, log = supervise((COUNT, tmp_path / "more-runs", "1,1,1,2"))
    asked.run()
    assert waits(log, "w1") == [0.01, 0.01, 0.01]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_passed_on_as_sigterm_and_a_clean_end_is_exit_code_0(tmp_path, number):
    asked, log = supervise((LINGER, tmp_path / "ready", 0))
    when([tmp_path / "ready"], number)
    assert asked.run() == 0
    assert log.lines == []


def test_a_child_that_fails_while_it_stops_is_not_a_clean_end(tmp_path):
    asked, _ = supervise((LINGER, tmp_path / "ready", 3))
    when([tmp_path / "ready"], signal.SIGTERM)
    assert asked.run() == EXIT_FORCED


def test_a_second_signal_ends_a_child_that_does_not_stop(tmp_path):
    # At once after the first: the kernel may then deliver it on another thread than the main one.
    for attempt in range(5):
        asked, _ = supervise((LINGER, tmp_path / f"ready-{attempt}", "stubborn"))
        when([tmp_path / f"ready-{attempt}"], signal.SIGTERM, signal.SIGINT)
        assert asked.run() == EXIT_FORCED


def test_a_signal_between_two_children_ends_it_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT_SECONDS", 60.0)
    asked, _ = supervise((COUNT, tmp_path / "runs", "1,1"))
    when([tmp_path / "runs"], signal.SIGTERM)
    assert asked.run() in {0, EXIT_FORCED}  # the signal may find the first child still ending
    assert (tmp_path / "runs").read_text() == "x"


def test_signal_handlers_are_given_back(tmp_path):
    caught = (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
    before = [signal.getsignal(number) for number in caught]
    asked, _ = supervise((COUNT, tmp_path / "runs", "2"))
    asked.run()
    assert [signal.getsignal(number) for number in caught] == before


# ---- several children


@pytest.fixture
def ready(tmp_path):
    """Where three children say that they run."""
    return [tmp_path / f"ready-{number}" for number in range(3)]


def starts(path):
    """Return the process id of each start of a child that lingers."""
    return [int(pid) for pid in path.with_suffix(".starts").read_text().split()]


def test_a_child_that_ends_is_started_again_by_itself_and_the_others_run_on(tmp_path, ready):
    asked, log = supervise((LINGER, ready[0], 0), (COUNT, tmp_path / "runs", "1,1,2"), (LINGER, ready[1], 0))
    assert asked.run() == Exit.USAGE
    assert [fields["worker"] for _, fields in log.lines] == ["w2", "w2"]
    assert [len(starts(path)) for path in ready[:2]] == [1, 1]


def test_each_child_has_waits_of_its_own(tmp_path):
    often, once = (COUNT, tmp_path / "often", "1,1,1,2"), (COUNT, tmp_path / "once", "1,0,0,0,0,0")
    asked, log = supervise(often, once)
    asked.run()
    assert waits(log, "w1") == [0.2, 0.4, 0.8]
    assert waits(log, "w2")[:2] == [0.2, 0.4]


def test_a_signal_goes_to_all_children_as_sigterm_and_their_clean_end_is_exit_code_0(ready):
    asked, log = supervise(*((LINGER, path, 0) for path in ready))
    when(ready, signal.SIGINT)
    assert asked.run() == 0
    assert all(path.with_suffix(".stopped").exists() for path in ready)
    assert log.lines == []


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_child_that_fails_while_it_stops_is_not_a_clean_end(ready, failing):
    asked, _ = supervise(*((LINGER, path, 3 * (number == failing)) for number, path in enumerate(ready)))
    when(ready, signal.SIGTERM)
    assert asked.run() == EXIT_FORCED


def test_a_second_signal_ends_all_children_that_do_not_stop(ready):
    asked, _ = supervise(*((LINGER, path, "stubborn") for path in ready))
    when(ready, signal.SIGTERM, signal.SIGINT)
    assert asked.run() == EXIT_FORCED
    assert all(has_ended(pid) for path in ready for pid in starts(path))


def test_a_child_that_waits_for_its_start_is_not_started_when_the_others_stop(tmp_path, ready, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_WAIT_SECONDS", 60.0)
    asked, log = supervise((COUNT, tmp_path / "runs", "0,0"), (LINGER, ready[0], 0))

    def stop():
        wait_until(lambda: log.lines and ready[0].exists())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert asked.run() == 0
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize("others_end_with", [0, 3])
def test_wrong_settings_of_one_child_stop_the_others_in_good_order(ready, others_end_with):
    wrong = (WAIT_AND_END, Exit.USAGE, *ready)
    asked, log = supervise(wrong, *((LINGER, path, others_end_with) for path in ready))
    assert asked.run() == Exit.USAGE
    assert all(path.with_suffix(".stopped").exists() for path in ready)
    assert log.lines == []


def test_children_that_do_not_stop_for_wrong_settings_are_ended_by_a_second_signal(ready):
    asked, _ = supervise((WAIT_AND_END, Exit.USAGE, *ready[:1]), (LINGER, ready[0], "stubborn"))
    when([ready[0].with_suffix(".stopped")], signal.SIGTERM, signal.SIGINT)
    assert asked.run() == Exit.USAGE
    assert all(has_ended(pid) for pid in starts(ready[0]))


def test_children_are_gone_with_the_other_end_of_their_lifeline(ready):
    with Lifeline() as lifeline:
        children = [
            lifeline.spawn(
                [sys.executable, "-c", ORPHAN, str(path)],
                env=WITH_OUR_PATH,
            )
            for path in ready
        ]
        wait_until(lambda: all(path.exists() for path in ready))
        with pytest.raises(subprocess.TimeoutExpired):
            children[0].wait(0.2)
    assert [child.wait(5) for child in children] == [-signal.SIGKILL] * 3


# ---- what a worker's processes run


def settings(**fields):
    return WorkerSettings(PIOPIY_TOKEN="a-token", _env_file=None, **fields)


def option(program, name):
    return program.command[program.command.index(name) + 1]


def test_a_worker_of_one_process_is_named_after_us_and_has_all_the_places():
    (program,) = list_programs(settings(concurrency=5, log_level="WARNING"))
    assert program.name == f"transfer-{os.getpid()}"
    assert option(program, "worker") == f"transfer-{os.getpid()}@%h"
    assert program.env["TRANSFER_CONCURRENCY"] == "5"
    assert program.env["TRANSFER_LOG_LEVEL"] == "WARNING"


def test_several_processes_are_numbered_and_each_knows_its_share_alone():
    programs = list_programs(settings(concurrency=5, processes=3))
    assert [option(program, "worker") for program in programs] == [
        f"transfer-{os.getpid()}-{number}@%h" for number in (1, 2, 3)
    ]
    for program, share in zip(programs, ("2", "2", "1"), strict=True):
        assert program.env["TRANSFER_CONCURRENCY"] == share
        # More than its slots would be refused.
        assert program.env["TRANSFER_PROCESSES"] == "1"


def test_two_workers_on_one_host_have_different_names_that_stay_over_restarts(monkeypatch):
    def names():
        return [program.name for program in list_programs(settings(concurrency=4, processes=2))]

    ours = names()
    assert names() == ours
    monkeypatch.setattr("os.getpid", lambda: 4711)
    assert names() == ["transfer-4711-1", "transfer-4711-2"] != ours
