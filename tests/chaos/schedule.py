"""Which fault when: drawn from a seed, so that the same seed always plans the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORKERS = ("w1", "w2", "w3")
PUBLISHERS = ("p1", "p2", "p3")
_LINES = (*WORKERS, *WORKERS, *PUBLISHERS)  # a worker's line to Redis is cut twice as often as a publisher's


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault.

    Attributes:
        weight: How often it is drawn, against the others.
        targets: What it can befall.
        seconds: The shortest and the longest it lasts; an ended process is started again after it.
    """

    name: str
    weight: float
    targets: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)


KINDS = (
    # Workers. The lease is 2 s: pauses fall short of it, and go beyond.
    Kind(name="kill", weight=5, targets=WORKERS, seconds=(0.0, 3.0)),
    Kind(name="kill_child", weight=4, targets=WORKERS),
    Kind(name="kill_supervisor", weight=2, targets=WORKERS),
    Kind(name="pause_short", weight=2, targets=WORKERS, seconds=(0.2, 1.2)),
    Kind(name="pause_long", weight=4, targets=WORKERS, seconds=(2.3, 5.0)),
    Kind(name="terminate", weight=4, targets=WORKERS, seconds=(0.0, 1.0)),
    # Its audit disk is full when it comes up, and for a while.
    Kind(name="audit_full", weight=2, targets=WORKERS, seconds=(1.0, 6.0)),
    # Redis.
    Kind(name="redis_kill", weight=2.5, targets=("redis",), seconds=(0.3, 3.0)),
    Kind(name="redis_pause", weight=1, targets=("redis",), seconds=(0.3, 3.0)),
    # The lines to Redis.
    Kind(name="cut", weight=2, targets=_LINES),
    Kind(name="cut_at_answer", weight=3, targets=_LINES),
    Kind(name="half_open", weight=1.5, targets=_LINES),
    Kind(name="refuse", weight=1.5, targets=_LINES, seconds=(0.5, 3.5)),
    Kind(name="blackhole", weight=2, targets=_LINES, seconds=(0.5, 4.0)),
    Kind(name="hold", weight=2, targets=_LINES, seconds=(0.5, 4.0)),
    Kind(name="lose_answers", weight=2, targets=_LINES, seconds=(0.3, 3.0)),
    Kind(name="delay", weight=1.5, targets=_LINES, seconds=(1.0, 5.0)),
    # The line to the platform; what the platform itself does wrong is the sandbox's mix.
    Kind(name="platform_refuse", weight=1.5, targets=("platform",), seconds=(0.5, 2.5)),
    Kind(name="platform_cut", weight=1, targets=("platform",)),
)

MIX = {
    "slow:0.4": 0.06,
    "slow:1.2": 0.02,
    "429": 0.03,
    "429:1": 0.02,
    "503": 0.05,
    "503:1": 0.02,
    "404": 0.01,
    "500": 0.01,
    "500-not-done": 0.01,
    "silence": 0.006,
    "silence-not-done": 0.006,
    "reset": 0.01,
    "reset-not-done": 0.01,
    "cut": 0.005,
    "html": 0.005,
    "html-not-done": 0.005,
    "redirect": 0.005,
}
"""What the sandbox does instead of its best, and how likely (see docs/sandbox.md).

No 409: that one tells of another transfer of the call, so only who knows of one may say it (the middleman).
"""

MIDDLEMAN = {
    "hints": 0.05,
    "503_before": 0.02,
    "503_after": 0.02,
    "left_over": 0.02,
    "late": 0.02,
    "unasked": 0.02,
    "409": 0.3,
}
"""What the proxy in front of the platform does, and how likely (see `middleman`); 409 if one is running."""


STORM_SECONDS = 15.0
CALM_BEFORE_SECONDS = 6.0
"""Long enough for the longest fault of the storm to end, and for all to be well again."""
CALM_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One fault to come."""

    at_seconds: float
    kind: str
    target: str
    seconds: float


def plan_faults(
    seed: int, *, seconds: float, mean_gap_seconds: float = 1.6, weights: dict[str, float] | None = None
) -> list[PlannedFault]:
    """Return the faults of a run in order, the same for the same arguments.

    Storms take turns with duels: calm, in which one worker is killed and nothing else happens, so that
    what its death alone costs can be measured.

    Args:
        seed: Where all chance comes from.
        seconds: How long faults begin; the last may end later.
        mean_gap_seconds: Between the beginnings of two faults in a storm.
        weights: Weights instead of those of `KINDS`; kinds that are not named don't occur, nor do duels.
    """
    if weights == {}:
        return []
    chance = random.Random(seed)
    planned: list[PlannedFault] = []
    at_seconds = chance.uniform(0.5, 1.5)
    while at_seconds < seconds:
        storm_end = seconds if weights is not None else min(seconds, at_seconds + STORM_SECONDS)
        while at_seconds < storm_end:
            planned.append(_draw(chance, at_seconds, weights))
            at_seconds += min(chance.expovariate(1 / mean_gap_seconds), 4 * mean_gap_seconds)
        kill_at = storm_end + CALM_BEFORE_SECONDS
        if kill_at < seconds:
            planned.append(_at(kill_at, "kill_child", chance.choice(WORKERS)))
        at_seconds = kill_at + CALM_AFTER_SECONDS
    return planned


def _draw(chance: random.Random, at_seconds: float, weights: dict[str, float] | None) -> PlannedFault:
    kinds = [kind for kind in KINDS if weights is None or kind.name in weights]
    odds = [kind.weight if weights is None else weights[kind.name] for kind in kinds]
    kind = chance.choices(kinds, odds)[0]
    return _at(at_seconds, kind.name, chance.choice(kind.targets), chance.uniform(*kind.seconds))


def _at(at_seconds: float, kind: str, target: str, seconds: float = 0.0) -> PlannedFault:
    return PlannedFault(at_seconds=round(at_seconds, 3), kind=kind, target=target, seconds=round(seconds, 3))
