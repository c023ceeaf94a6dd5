"""What is kept in results.json: the last two whole runs, and one that is under way."""

import json
import time
from pathlib import Path

WHOLE = ("latency", "counts", "scripts", "throughput", "workers", "processes", "stages", "backlog", "mixed")
"""The parts of a whole run. The others are asked for by name."""

WHOLE_ROUNDS = 5


class Runs:
    """The runs of a file, the newest last."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.runs: list[dict] = json.loads(file.read_text())["runs"] if file.exists() else []

    def begin(self, machine: dict, *, rounds: int, parts: set[str], is_short: bool = False) -> dict:
        """Return the run that figures go into.

        Some parts alone go into the newest run where machine, revision and options are the same, so that one
        that was interrupted can be made whole; parts that no whole run has may be shorter. Else a new one
        begins.
        """
        if self.runs and not parts.issuperset(WHOLE) and self.runs[-1]["machine"] == machine:
            newest = self.runs[-1]
            options = (newest["rounds"], newest.get("is_short", False))
            if parts.isdisjoint(WHOLE) or options == (rounds, is_short):
                return newest
        self.runs = [run for run in self.runs if is_whole(run)]
        self.runs.append(
            {
                "begun_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
                "machine": machine,
                "rounds": rounds,
                "is_short": is_short,
                "took_seconds": {},
            }
        )
        return self.runs[-1]

    def keep(self) -> None:
        """Write what there is; the third-last goes once the newest is whole."""
        kept = self.runs[-2:] if self.runs and is_whole(self.runs[-1]) else self.runs[-3:]
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps({"runs": kept}))
        partial.replace(self._file)


def is_whole(run: dict) -> bool:
    """Say whether every part of a whole run has come to its end, with all rounds and systems."""
    is_full = run["rounds"] >= WHOLE_ROUNDS and not run.get("is_short", False)
    return is_full and set(WHOLE) <= run["took_seconds"].keys()


def known_seconds(runs: list[dict]) -> dict[str, float]:
    """Return what each part took in the newest whole run; nothing where there is none."""
    return next((run["took_seconds"] for run in reversed(runs) if is_whole(run)), {})
