"""The judge can condemn: with one safeguard taken out, a short run must fail; with none, it must pass."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chaos.report import format_findings
from chaos.run import Plan, Result, run
from transfer_tasks.voice import active_transfer

SECONDS = 40.0
"""At most: a run ends as soon as the sandbox has carried a transfer out twice."""

NEIGHBOURS_SECONDS = 16.0
DISK_SECONDS = 10.0

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


# Faults of ours, of the platform, and of the proxy in front of it.
STRAINS: dict[str, tuple[dict[str, float], dict[str, float], dict[str, float]]] = {
    "fencing": (PAUSES, RETRIES_AND_SLOW_ANSWERS, {}),
    "read_timeouts": ({}, LOST_ANSWERS, {}),
    "sdk_retries": ({}, ERRORS, {}),
    "any_503": ({}, {}, {"503_after": 0.3}),
}


# Those whose crime is not a second request: the promise that they break, and what brings it out.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "full_disk": ("lines", {"seconds": DISK_SECONDS, "weights": {"audit_full": 1.0}}),
    "own_names": ("neighbour", {"seconds": NEIGHBOURS_SECONDS, "weights": {}, "has_neighbour": True}),
}


def run_other(mutant: str) -> Result:
    _, strain = OTHERS[mutant]
    plan = Plan(
        seed=1,
        per_second=2.0,
        voice_per_second=0.0,
        mix={},
        command=COMMAND,
        env={"CHAOS_MUTANT": mutant},
        **strain,
    )
    return run(plan)


def run_mutant(mutant: str) -> Result:
    if mutant in OTHERS:
        return run_other(mutant)
    weights, mix, middleman = STRAINS[mutant]
    return run(
        Plan(
            seed=1,
            seconds=SECONDS,
            per_second=PER_SECOND,
            mean_gap_seconds=2.0,
            weights=weights,
            mix=mix,
            middleman=middleman,
            command=COMMAND,
            env={"CHAOS_MUTANT": mutant},
            stop_when_doubled=True,
            voice_per_second=0.0,
        )
    )


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """All mutants at once, and voice sessions without any: most of the time they wait."""
    with ThreadPoolExecutor() as executor:
        sessions = executor.submit(
            run,
            Plan(seed=1, seconds=12.0, per_second=1.0, voice_per_second=6.0, weights={}, mix={"reset": 0.5}),
        )
        names = [*STRAINS, *OTHERS]
        mutants = dict(zip(names, executor.map(run_mutant, names), strict=True))
        return {"sessions": sessions.result(), **mutants}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", STRAINS)
def test_a_worker_without_this_safeguard_is_condemned(mutant: str, results: dict[str, Result]) -> None:
    assert "doubled" in results[mutant].summary["broken"], results[mutant].summary


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mutant", OTHERS)
def test_a_worker_that_wrongs_the_audit_log_or_a_neighbour_is_condemned(
    mutant: str, results: dict[str, Result]
) -> None:
    promise, _ = OTHERS[mutant]
    assert promise in results[mutant].summary["broken"], results[mutant].summary


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
        voice_per_second=0.0,
    )

    result = run(plan)

    assert not result.verdict.findings, format_findings(result.history, result.verdict.findings)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("safeguard", "mutant", "mix"),
    [
        (
            "evidence_after_seconds",
            lambda settings, _ring_seconds: settings.session_evidence_grace_seconds,
            {"reset": 0.5},
        ),
        ("may_ring_seconds", lambda _settings, _ring_seconds: 0.0, {}),
    ],
)
def test_sessions_that_take_presence_for_proof_while_it_rings_are_condemned(
    monkeypatch: pytest.MonkeyPatch, safeguard: str, mutant: Any, mix: dict[str, float]
) -> None:
    """The mutants are on the side that asks."""
    monkeypatch.setattr(active_transfer, safeguard, mutant)

    result = run(
        Plan(
            seed=1,
            seconds=SECONDS,
            per_second=1.0,
            voice_per_second=6.0,
            weights={},
            mix=mix,
            stop_when_doubled=True,
        )
    )

    assert "moved_once" in result.summary["broken"], result.summary


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_sessions_that_wait_until_nothing_can_ring_any_more_are_without_blame(
    results: dict[str, Result],
) -> None:
    result = results["sessions"]
    assert not {"moved_once", "doubled", "truth"} & result.summary["broken"].keys(), result.summary
    callers = [heard for heard in result.history.heard if heard.who == "caller"]
    assert {"moving", "open", "not_moved"} <= {heard.word for heard in callers}, (
        "all of it was put to the test"
    )
