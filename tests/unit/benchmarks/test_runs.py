"""What results.json keeps: the last two whole runs, and one that is under way."""

from __future__ import annotations

import json

import pytest
from benchmarks.figures.runs import WHOLE, Runs, is_whole, known_seconds

MACHINE = {"revision": "abc1234"}
ALL = set(WHOLE)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results.json"


def begin(file, *, is_done: bool = True, parts=ALL, rounds: int = 5, machine=MACHINE, **named) -> dict:
    """Take a run and keep it, with all parts at their end unless told otherwise."""
    runs = Runs(file)
    run = runs.begin(machine, rounds=rounds, parts=set(parts), **named)
    if is_done:
        run["took_seconds"] |= dict.fromkeys(parts, 10.0)
    runs.keep()
    return run


def kept(file) -> list[str]:
    return [run["machine"]["revision"] for run in json.loads(file.read_text())["runs"]]


def test_the_last_two_whole_runs_are_kept(file):
    for revision in ("a", "b", "c"):
        begin(file, machine={"revision": revision})
    assert kept(file) == ["b", "c"]


def test_two_whole_runs_stay_until_the_next_is_whole(file):
    for revision in ("a", "b"):
        begin(file, machine={"revision": revision})
    begin(file, machine={"revision": "c"}, is_done=False)
    assert kept(file) == ["a", "b", "c"]


def test_one_that_was_interrupted_goes_when_the_next_begins(file):
    begin(file, machine={"revision": "a"})
    begin(file, machine={"revision": "b"}, is_done=False)
    begin(file, machine={"revision": "c"}, is_done=False)
    assert kept(file) == ["a", "c"]


def test_the_parts_that_an_interrupted_run_lacks_make_it_whole(file):
    run = begin(file, is_done=False)
    run["took_seconds"] |= dict.fromkeys(ALL - {"backlog"}, 10.0)
    runs = Runs(file)
    runs.runs = [run]
    runs.keep()
    assert not is_whole(run)
    assert is_whole(begin(file, parts={"backlog"}))
    assert kept(file) == ["abc1234"]


@pytest.mark.parametrize(
    "other", [{"machine": {"revision": "new"}}, {"rounds": 2}, {"is_short": True}, {"parts": ALL}]
)
def test_what_can_not_be_compared_begins_a_run_of_its_own(file, other):
    begin(file)
    begin(file, is_done=False, **{"parts": {"latency"}} | other)
    assert len(kept(file)) == 2


def test_parts_that_no_whole_run_has_may_be_shorter(file):
    begin(file)
    run = begin(file, parts={"ended"}, rounds=2)
    assert run["rounds"] == 5
    assert len(kept(file)) == 1


@pytest.mark.parametrize("less", [{"rounds": 4}, {"is_short": True}, {"is_done": False}])
def test_a_run_with_less_is_not_whole(file, less):
    assert not is_whole(begin(file, **less))
    assert known_seconds(Runs(file).runs) == {}


def test_a_run_with_every_part_is_whole_and_its_times_are_known(file):
    begin(file)
    assert known_seconds(Runs(file).runs)["latency"] == 10.0


def test_keeping_replaces_the_file_at_once(file):
    begin(file)
    assert [each.name for each in file.parent.iterdir()] == ["results.json"]
