"""How much slower than alone anything computes on this machine: `python -m chaos.witness FILE`.

A process that has nothing to do with the cluster computes for a moment, sleeps for ten times as long, and
writes down how long the moment took. Whether it wakes up in time, as the injector's clock looks, says less:
whoever sleeps most of the time is let in first, where to start a worker takes half a minute.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BEAT_SECONDS: Final = 0.02
"""Of computing: more than the system gives to whoever has slept, before others have their turn."""

PAUSE_SECONDS: Final = 0.2

USUAL_SLOWNESS: Final = 1.3
"""Of a run that has two cores to itself: its own processes are others to the witness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """One moment of the witness's: when it ended, and how many times as long as its computing it took."""

    at_ms: float
    slowness: float


def take_beat() -> Beat:
    """Compute for a moment."""
    began, computed = time.monotonic(), time.thread_time()
    while time.thread_time() - computed < BEAT_SECONDS:
        pass
    return Beat(at_ms=time.time() * 1000, slowness=(time.monotonic() - began) / BEAT_SECONDS)


def read_beats(path: Path) -> list[Beat]:
    """Return what a witness has written; its last line may be half of one."""
    beats = []
    for line in path.read_text("utf-8").splitlines(keepends=True) if path.exists() else ():
        if line.endswith("\n"):
            at_ms, slowness = map(float, line.split())
            beats.append(Beat(at_ms=at_ms, slowness=slowness))
    return beats


def read_slowness(beats: Iterable[Beat], since_ms: float, until_ms: float) -> float:
    """Return how many times slower than usual anything was computed meanwhile; 1 where nobody has looked."""
    seen = [beat.slowness for beat in beats if since_ms <= beat.at_ms <= until_ms]
    return max(1.0, sum(seen) / len(seen) / USUAL_SLOWNESS) if seen else 1.0


def main() -> None:
    with Path(sys.argv[1]).open("w", encoding="utf-8", buffering=1) as file:
        while True:
            beat = take_beat()
            file.write(f"{beat.at_ms:.0f} {beat.slowness:.2f}\n")
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
