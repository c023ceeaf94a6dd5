"""Whether a series of measurements grows: a slope that outliers don't move, and a test for chance."""

from itertools import combinations
from math import sqrt
from statistics import median
from typing import NamedTuple

SETTLING_SHARE = 1 / 3
"""How much of the time at the beginning is not judged: caches fill."""

FEWEST = 8
"""With fewer points, nothing can be told from chance."""

_BEYOND_CHANCE = 2.33
"""Mann-Kendall's z: one series in a hundred that only wavers rises as steadily."""

_WITH_TABLES = 1.1
"""Redis's own tables of keys and of their TTLs, in parts of what the keys weigh."""

_NO_GROWTH_BYTES = 10

LEVEL, GROWS, TOO_SHORT = "level", "GROWS", "too short to tell"
WITH_ITS_KEYS = "with its keys"
WITH_OTHERS = "rises, and so do others on the machine"


class Measure(NamedTuple):
    """One figure of each slice, and what rise of it would not count over the time that is judged.

    Attributes:
        share: In parts of the median.
        absolute: In the figure's own unit; the larger of both holds.
        after: How many transfers have ended before it is judged: what is remembered of them has a limit.
        is_wall_time: Whether it gets longer when others use the machine.
    """

    title: str
    key: str
    share: float = 0.0
    absolute: float = 0.0
    after: int = 0
    is_wall_time: bool = False


class Growth(NamedTuple):
    """What became of a figure: medians of the first and the last third, and the slope of what is judged."""

    first: float
    last: float
    per_minute: float | None
    verdict: str


def slope_of(points: list[tuple[float, float]]) -> float:
    """Return Theil and Sen's slope: the median of the slopes of all pairs."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x1 != x2]
    return median(slopes) if slopes else 0.0


def rises_steadily(values: list[float]) -> bool:
    """Say whether values rise more often than chance would have it (Mann and Kendall)."""
    count = len(values)
    score = sum((later > earlier) - (later < earlier) for earlier, later in combinations(values, 2))
    return score > 0 and (score - 1) / sqrt(count * (count - 1) * (2 * count + 5) / 18) > _BEYOND_CHANCE


def judge_growth(measure: Measure, slices: list[dict]) -> Growth:
    """Return whether this figure of the slices grows; each has `at_s` and `ended` besides."""
    values = [each[measure.key] for each in slices]
    third = max(1, len(values) // 3)
    settled = slices[0]["at_s"] + (slices[-1]["at_s"] - slices[0]["at_s"]) * SETTLING_SHARE
    judged = [each for each in slices if each["at_s"] >= settled and each["ended"] >= measure.after]
    if len(judged) < FEWEST:
        return Growth(median(values[:third]), median(values[-third:]), None, TOO_SHORT)
    slope = slope_of([(each["at_s"], each[measure.key]) for each in judged])
    rise = slope * (judged[-1]["at_s"] - judged[0]["at_s"])
    figures = [each[measure.key] for each in judged]
    allowed = max(measure.share * abs(median(figures)), measure.absolute)
    verdict = GROWS if rise > allowed and rises_steadily(figures) else LEVEL
    return Growth(median(values[:third]), median(values[-third:]), slope * 60, verdict)


def judge_all(measures: tuple[Measure, ...], slices: list[dict], *, others: Measure) -> dict[str, Growth]:
    """Judge each by its key. A time that rises while others use more of the machine says nothing of us.

    Args:
        others: What others use.
    """
    are_busier = judge_growth(others, slices).verdict == GROWS
    judged = {}
    for measure in measures:
        growth = judge_growth(measure, slices)
        if growth.verdict == GROWS and measure.is_wall_time and are_busier:
            growth = growth._replace(verdict=WITH_OTHERS)
        judged[measure.key] = growth
    return judged


def judge_memory(slices: list[dict], left: dict[str, dict], *, outbox: str) -> dict:
    """Return what Redis's memory grows by, beside what the keys of transfers weigh.

    The outbox has a limit of its own, and is left out. Keys with an id or a time in their names go with their
    TTL; one whose name is always the same, and that grows with each transfer, would never end.

    Args:
        slices: Each has `ended`, `used_bytes` and `outbox_bytes`.
        left: Of each kind of keys, what came with each transfer: `leftovers.grown_by`.
        outbox: The outbox's name.
    """
    kinds = {kind: of for kind, of in left.items() if kind != outbox}
    weighed = sum(of["bytes"] for of in kinds.values())
    slope = slope_of([(each["ended"], each["used_bytes"] - each["outbox_bytes"]) for each in slices])
    endless = sorted(kind for kind, of in kinds.items() if "*" not in kind and of["bytes"] > _NO_GROWTH_BYTES)
    is_growing = endless or slope > weighed * _WITH_TABLES + _NO_GROWTH_BYTES
    verdict = TOO_SHORT if len(slices) < FEWEST else GROWS if is_growing else WITH_ITS_KEYS
    return {
        "bytes_per_transfer": slope,
        "keys_bytes_per_transfer": weighed,
        "kinds": kinds,
        "endless": endless,
        "verdict": verdict,
    }


def name_growing(verdicts: dict[str, str]) -> list[str] | None:
    """Return the names of what grows; None where nobody can tell of something yet."""
    growing = [name for name, verdict in verdicts.items() if verdict == GROWS]
    is_told = {TOO_SHORT, WITH_OTHERS}.isdisjoint(verdicts.values())
    return growing if growing or is_told else None
