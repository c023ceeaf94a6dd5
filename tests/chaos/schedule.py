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
    "409": 0.005,
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
"""What the sandbox does instead of its best, and how likely (see docs/sandbox.md)."""


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

    Args:
        seed: Where all chance comes from.
        seconds: How long faults begin; the last may end later.
        mean_gap_seconds: Between the beginnings of two faults.
        weights: Weights instead of those of `KINDS`; kinds that are not named don't occur.
    """
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if weights is None or kind.name in weights]
    odds = [kind.weight if weights is None else weights[kind.name] for kind in kinds]
    planned: list[PlannedFault] = []
    at_seconds = chance.uniform(0.5, 1.5)
    while at_seconds < seconds:
        kind = chance.choices(kinds, odds)[0]
        planned.append(
            PlannedFault(
                at_seconds=round(at_seconds, 3),
                kind=kind.name,
                target=chance.choice(kind.targets),
                seconds=round(chance.uniform(*kind.seconds), 3),
            )
        )
        at_seconds += min(chance.expovariate(1 / mean_gap_seconds), 4 * mean_gap_seconds)
    return planned
