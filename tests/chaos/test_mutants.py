"""The judge can condemn: with one safeguard taken out, a short run must fail; with none, it must pass."""

from __future__ import annotations

import sys

import pytest

from chaos.report import format_findings
from chaos.run import Plan, run

SECONDS = 40.0
"""At most: a run ends as soon as the sandbox has carried a transfer out twice."""

PER_SECOND = 14.0

COMMAND = (
    *(sys.executable, "-m", "celery", "-A", "chaos.mutants", "worker"),
    *("--concurrency", "12", "--without-mingle", "--without-gossip", "--hostname", "%(name)s@chaos"),
)

# What each safeguard is there for, and nothing else.
PAUSES = {"pause_long": 1.0}
RETRIES_AND_SLOW_ANSWERS = {"503:1": 0.45, "slow:1.2": 0.5}
LOST_ANSWERS = {"silence": 0.1, "reset": 0.2}
ERRORS = {"500": 0.2, "reset": 0.1}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mutant", "weights", "mix"),
    [
        ("fencing", PAUSES, RETRIES_AND_SLOW_ANSWERS),
        ("read_timeouts", {}, LOST_ANSWERS),
        ("sdk_retries", {}, ERRORS),
    ],
)
def test_a_worker_without_this_safeguard_is_condemned(
    mutant: str, weights: dict[str, float], mix: dict[str, float]
) -> None:
    result = run(
        Plan(
            seed=1,
            seconds=SECONDS,
            per_second=PER_SECOND,
            mean_gap_seconds=2.0,
            weights=weights,
            mix=mix,
            command=COMMAND,
            env={"CHAOS_MUTANT": mutant},
            stop_when_doubled=True,
        )
    )

    assert "doubled" in result.summary["broken"], result.summary


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_same_strain_leaves_a_whole_worker_without_blame() -> None:
    plan = Plan(
        seed=1,
        seconds=8.0,
        per_second=PER_SECOND,
        mean_gap_seconds=2.0,
        weights=PAUSES,
        mix=RETRIES_AND_SLOW_ANSWERS,
    )

    result = run(plan)

    assert not result.verdict.findings, format_findings(result.history, result.verdict.findings)
