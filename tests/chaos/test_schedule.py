"""What a seed plans."""

from __future__ import annotations

from itertools import pairwise

from chaos.schedule import CALM_AFTER_SECONDS, CALM_BEFORE_SECONDS, KINDS, MIX, plan_faults
from transfer_worker.sandbox.director import parse_faults


def test_the_same_seed_plans_the_same() -> None:
    assert plan_faults(7, seconds=120) == plan_faults(7, seconds=120)
    assert plan_faults(7, seconds=120) != plan_faults(8, seconds=120)


def test_three_minutes_hold_every_kind_of_fault() -> None:
    planned = {fault.kind for fault in plan_faults(7, seconds=180, mean_gap_seconds=0.8)}

    assert planned == {kind.name for kind in KINDS}


def test_storms_take_turns_with_the_death_of_one_worker_in_a_calm() -> None:
    planned = plan_faults(7, seconds=180)
    duels = [
        fault
        for before, fault, after in zip(planned, planned[1:], planned[2:], strict=False)
        if fault.at_seconds - before.at_seconds >= CALM_BEFORE_SECONDS
        and after.at_seconds - fault.at_seconds >= CALM_AFTER_SECONDS
    ]

    assert len(duels) >= 5
    assert {fault.kind for fault in duels} == {"kill_child"}


def test_faults_come_in_order_and_within_the_time() -> None:
    planned = plan_faults(1, seconds=60)

    assert all(one.at_seconds <= other.at_seconds for one, other in pairwise(planned))
    assert 0 < planned[0].at_seconds <= planned[-1].at_seconds < 60


def test_only_the_kinds_that_were_named_are_planned() -> None:
    assert {fault.kind for fault in plan_faults(1, seconds=60, weights={"kill": 1.0})} == {"kill"}
    assert plan_faults(1, seconds=60, weights={}) == []


def test_the_sandbox_understands_the_mix() -> None:
    assert len(parse_faults(mix=MIX).mix) == len(MIX)
