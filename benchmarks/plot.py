"""The plot for people who would rather look."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.numbers import spread

OURS, OTHERS = "#0b6e4f", "#9aa5b1"


def draw(results: dict, path: Path) -> None:
    """Draw submit → POST of every system, and the worker's processor time for each transfer."""
    names = [name for name, rounds in results["latency"].items() if rounds]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    of = results["latency"]
    for place, name in enumerate(reversed(names)):
        colour = OURS if name == names[0] else OTHERS
        for key, mark in (("to_post_p50_ms", "o"), ("to_post_p99_ms", "|")):
            middle, least, greatest = spread([each[key] for each in of[name]])
            left.plot([least, greatest], [place, place], color=colour, linewidth=2, alpha=0.5)
            left.plot(middle, place, mark, color=colour, markersize=9, markeredgewidth=2)
        cpu = spread([each["worker_cpu_ms"] for each in of[name]])[0]
        right.barh(place, cpu, color=colour, height=0.6)
        right.text(cpu, place, f" {cpu:.1f}", va="center", fontsize=8)
    left.set_xscale("log")
    left.set_xlabel("submit → POST, ms at 50/s (● p50, | p99; bars: least to greatest of the rounds)")
    left.set_yticks(range(len(names)), list(reversed(names)))
    left.grid(axis="x", which="both", alpha=0.25)
    right.set_xlabel("worker CPU per transfer, ms")
    right.set_yticks([])
    right.set_xlim(0, 1.15 * sorted(spread([e["worker_cpu_ms"] for e in of[n]])[0] for n in names)[-2])
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
