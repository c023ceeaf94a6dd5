"""What `doctor` says of an installation in which a worker would not start."""

from __future__ import annotations

import sys

from transfer_worker.operations.doctor import programs
from transfer_worker.operations.doctor.programs import check_programs
from transfer_worker.runtime.findings import Verdict


def test_a_sound_installation_is_not_worth_a_line():
    assert list(check_programs()) == []


def test_a_vendors_missing_package_is_a_problem_that_names_it(monkeypatch):
    # As kombu without its extra `redis` was: Python takes None for "not there".
    monkeypatch.setitem(sys.modules, "packaging.version", None)
    monkeypatch.delitem(sys.modules, "kombu.transport.redis")

    (found,) = check_programs()

    assert found.verdict is Verdict.PROBLEM
    assert found.seen.startswith("worker can't start: kombu.transport.redis needs more than is installed (")
    assert "packaging.version" in found.seen
    assert "call-transfer[worker]" in found.fix


def test_both_programs_are_looked_at(monkeypatch):
    monkeypatch.setattr(programs, "PARTS", {"worker": "no_such_part", "flower": "no_such_part_either"})

    assert [found.seen.split()[0] for found in check_programs()] == ["worker", "flower"]
