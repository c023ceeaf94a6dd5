"""The runner of `make test`: what runs when, whose output is whose, and how it stops."""

from __future__ import annotations

import signal
import sys
import textwrap
from pathlib import Path

import pytest

from support import wait_until

STAGES_PY = Path(__file__).parents[2] / ".ci" / "stages.py"
RUN = f"""
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("stages", {str(STAGES_PY)!r})
stages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stages)
stages.BIN, stages.ROOT = Path("/bin"), Path({{root}})
stages.STAGES = {{name: [["sh", "-c", line] for line in lines] for name, lines in {{stages}}.items()}}
stages.QUICK, stages.LANES = ("quick",), (("a",), ("b",))
sys.exit(stages.main(sys.argv[1:]))
"""
WAIT = "echo waits; : > waits; sleep 30; echo too late"


@pytest.fixture
def run(spawn, tmp_path):
    """Start the runner with stages of shell lines."""

    def run(stages, *names):
        stages = {"quick": ["echo quick"], "a": ["echo a"], "b": ["echo b"], **stages}
        return spawn(
            [
                sys.executable,
                "-c",
                textwrap.dedent(RUN.replace("{stages}", repr(stages)).replace("{root}", repr(str(tmp_path)))),
                *names,
            ]
        )

    return run


def verdicts(runner):
    """Return name and verdict of each stage, in the order of their ends."""
    table = runner.output().rpartition("\n\n")[2]
    return [(line.split()[0], line.split(" s  ")[1]) for line in table.splitlines()]


def test_named_stages_run_in_this_order_and_the_first_failure_is_the_exit_code(run):
    runner = run({"a": ["echo one", "exit 3", "echo never"]}, "quick", "a", "b")
    assert runner.wait() == 3
    assert verdicts(runner) == [("quick", "passed"), ("a", "FAILED (exit code 3)")]
    assert "\nnever\n" not in runner.output()


def test_without_names_the_quick_ones_come_first_and_the_others_side_by_side(run):
    met = [f": > {mine}; until [ -e {other} ]; do sleep 0.01; done; echo met"
           for mine, other in ("ab", "ba")]  # fmt: skip
    runner = run({"a": met[:1], "b": met[1:], "c": ["echo c"]})
    assert runner.wait() == 0
    assert verdicts(runner)[0] == ("quick", "passed")
    assert sorted(verdicts(runner)) == [(name, "passed") for name in ("a", "b", "c", "quick")]
    for name in ("a", "b"):  # each output whole, under its name
        assert f"\n=== {name}\n$ sh" in runner.output()
        assert f"\nmet\n=== {name} passed" in runner.output()


def test_nothing_begins_after_a_failure_and_what_runs_beside_it_comes_to_its_end(run):
    def until(*names):
        return f"until [ {' -a '.join(f'-e {name}' for name in names)} ]; do sleep 0.01; done"

    beside = f"{until('a')}; sleep 0.5; echo to its end"
    runner = run(
        {
            "a": [f"{until('b', 'c')}; : > a; exit 4"],
            "b": [f": > b; {beside}"],
            "c": [f": > c; {beside}"],
            "d": ["echo never"],
        }
    )
    assert runner.wait() == 4
    assert {name for name, _ in verdicts(runner)} == {"quick", "a", "b", "c"}
    assert runner.output().count("\nto its end\n") == 2


@pytest.mark.parametrize("names", [["a"], []], ids=["alone", "side by side"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_runs_and_nothing_else_begins(run, tmp_path, number, names):
    runner = run({"a": [WAIT, "echo never"]}, *names)
    wait_until((tmp_path / "waits").exists)
    runner.send_signal(number)
    assert runner.wait() == 130
    assert "\nwaits\n" in runner.output()
    assert "\ntoo late\n" not in runner.output()
    assert ("a", "passed") not in verdicts(runner)
