"""The plot for people who would rather look."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.figures.numbers import spread
from benchmarks.figures.targets import OURS

COLOUR, COLOUR_OF_OTHERS = "#0b6e4f", "#9aa5b1"


def draw_plots(run: dict, docs: Path) -> None:
    """Draw what this run has measured, into files beside the page."""
    if run.get("latency"):
        draw_latency(run["latency"], docs / "performance.png")
    if run.get("mixed", {}).get("slices"):
        draw_mixed(run["mixed"]["slices"], docs / "performance-mixed.png")


def draw_latency(latency: dict[str, dict[str, list[dict]]], path: Path) -> None:
    """Draw submit → POST of every system with both durabilities, and processor time for each transfer."""
    headline = latency.get("always") or latency["everysec"]
    names = [name for name, rounds in headline.items() if rounds]
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.6), width_ratios=(3, 1.6, 1.6))
    for offset, (durability, of) in zip((0.17, -0.17), latency.items(), strict=False):
        _draw_times(left, of, names, offset=offset, is_filled=durability == "always")
    left.set_xscale("log")
    left.set_xlabel(
        "submit → POST at 50/s, ms (dot p50, stroke p99; line: least to greatest round)\n"
        "filled: appendfsync always, as shipped; hollow: everysec"
    )
    left.set_yticks(range(len(names)), list(reversed(names)))
    left.grid(axis="x", which="both", alpha=0.25)
    _draw_bars(middle, headline, names, "worker_cpu_ms")
    middle.set_xlabel("worker CPU per transfer, ms")
    _draw_bars(right, headline, names, "redis_cpu_ms")
    right.set_xlabel("Redis CPU per transfer, ms")
    for axes in (middle, right):
        axes.set_yticks([])
        axes.set_ylim(left.get_ylim())
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def colour_of(name: str) -> str:
    return COLOUR if name == OURS else COLOUR_OF_OTHERS


def _draw_times(axes, of: dict[str, list[dict]], names: list[str], *, offset: float, is_filled: bool) -> None:
    for place, name in enumerate(reversed(names)):
        if not of.get(name):
            continue
        colour = colour_of(name)
        for key, mark in (("to_post_p50_ms", "o"), ("to_post_p99_ms", "|")):
            middle, least, greatest = spread([each[key] for each in of[name]])
            axes.plot([least, greatest], [place + offset] * 2, color=colour, linewidth=1.5, alpha=0.5)
            axes.plot(
                middle,
                place + offset,
                mark,
                color=colour,
                markersize=7,
                markeredgewidth=1.5,
                markerfacecolor=colour if is_filled else "white",
            )


def _draw_bars(axes, of: dict[str, list[dict]], names: list[str], key: str) -> None:
    values = {name: spread([each[key] for each in of[name]])[0] for name in names}
    # rq, whose forks cost twenty times as much, runs out of the picture; nobody else does.
    limit = 1.2 * max(value for name, value in values.items() if name != "rq" or len(values) == 1)
    for place, name in enumerate(reversed(names)):
        value = values[name]
        axes.barh(place, min(value, limit), color=colour_of(name), height=0.6)
        axes.text(min(value, 0.9 * limit), place, f" {value:.2f}", va="center", fontsize=8)
    axes.set_xlim(0, limit)


def draw_mixed(slices: list[dict], path: Path) -> None:
    """Draw submit → POST and Redis's processor time over the minutes of everything at once."""
    minutes = [each["at_s"] / 60 for each in slices]
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 5.2), sharex=True)
    for axes, key, label, colour in (
        (upper, "to_post_p99_ms", "p99", COLOUR),
        (upper, "to_post_p50_ms", "p50", COLOUR_OF_OTHERS),
        (lower, "redis_cpu_ms", "Redis", COLOUR),
    ):
        axes.plot(minutes, [each[key] for each in slices], color=colour, label=label, linewidth=1.5)
    upper.set_ylabel("submit → POST, ms")
    upper.legend(frameon=False, ncols=2)
    lower.set_ylabel("Redis CPU\nper transfer, ms")
    lower.set_xlabel("minutes at 50/s, with audit file, Flower, metrics and `status --watch`; by ten seconds")
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
