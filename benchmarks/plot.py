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
    processor = {name: spread([each["worker_cpu_ms"] for each in of[name]])[0] for name in names}
    limit = 1.2 * sorted(processor.values())[-2]  # rq, by far the last, runs out of the picture
    for place, name in enumerate(reversed(names)):
        colour = OURS if name == names[0] else OTHERS
        for key, mark in (("to_post_p50_ms", "o"), ("to_post_p99_ms", "|")):
            middle, least, greatest = spread([each[key] for each in of[name]])
            left.plot([least, greatest], [place, place], color=colour, linewidth=2, alpha=0.5)
            left.plot(middle, place, mark, color=colour, markersize=9, markeredgewidth=2)
        cpu = processor[name]
        right.barh(place, min(cpu, limit), color=colour, height=0.6)
        right.text(min(cpu, 0.9 * limit), place, f" {cpu:.1f}", va="center", fontsize=8)
    left.set_xscale("log")
    left.set_xlabel("submit → POST at 50/s, ms\n(dot p50, stroke p99; line: least to greatest round)")
    left.set_yticks(range(len(names)), list(reversed(names)))
    left.grid(axis="x", which="both", alpha=0.25)
    right.set_xlabel("worker CPU per transfer, ms")
    right.set_yticks([])
    right.set_xlim(0, limit)
    right.set_ylim(left.get_ylim())
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
