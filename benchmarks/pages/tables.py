"""Tables in Markdown, and figures as they stand in their cells."""

from benchmarks.figures.numbers import spread


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def values_of(rounds: list[dict], key: str) -> list[float]:
    """Return the figures of those rounds that have one."""
    return [each[key] for each in rounds if each.get(key) is not None]


def cell(values: list[float]) -> str:
    """The median, with the least and the greatest where there is more than one."""
    if not values:
        return "-"
    middle, least, greatest = spread(values)
    if len(values) == 1:
        return number(middle)
    return f"{number(middle)} ({number(least)}-{number(greatest)})"


def number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
