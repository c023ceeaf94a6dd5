"""Medians, percentiles, spreads."""

from statistics import median


def percentile(values: list[float], rank: float) -> float:
    """Return the value at `rank` percent, interpolated."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * rank / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return median, least and greatest."""
    return median(values), min(values), max(values)
