"""`python -m benchmarks`: measure, print a table, keep the figures and draw them."""

import argparse
import time
from pathlib import Path

from benchmarks.history import run_history
from benchmarks.machine import describe_machine
from benchmarks.processes import ROOT
from benchmarks.progress import Progress
from benchmarks.report import print_report, write_table
from benchmarks.run import run_counts, run_latency, run_processes, run_throughput, run_two_workers
from benchmarks.runs import WHOLE, Runs
from benchmarks.scripts import measure_scripts
from benchmarks.stage import Stage
from benchmarks.stages import measure_stages
from benchmarks.systems import find_systems
from benchmarks.volume import measure_backlog, measure_ended

PARTS = (*WHOLE, "ended", "history")
RESULTS = ROOT / "benchmarks" / "results.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--systems", default="", help="comma-separated; all by default")
    parser.add_argument("--parts", default=",".join(WHOLE), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of steady load in each latency round")
    parser.add_argument("--count", type=int, default=600, help="transfers in each throughput round")
    parser.add_argument("--ended", type=int, default=1_000_000, help="ended records for the part `ended`")
    parser.add_argument("--revisions", default="840ad3e,HEAD", help="for `history`: git revisions")
    parser.add_argument("--out", type=Path, default=RESULTS, help="another file leaves the page alone")
    options = parser.parse_args()
    wanted = set(options.parts.split(","))
    if unknown := wanted - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")

    runs = Runs(options.out)
    try:
        _measure(runs, [part for part in PARTS if part in wanted], options)
    except KeyboardInterrupt:
        print("\nInterrupted; what is done is kept. The parts that lack can be named with --parts.")
    print_report(runs.runs)
    if options.out == RESULTS:
        write_table(runs.runs, ROOT / "docs")


def _measure(runs: Runs, parts: list[str], options: argparse.Namespace) -> None:
    systems, begun = find_systems(options.systems), time.monotonic()
    rounds, seconds, count = options.rounds, options.seconds, options.count
    with Stage() as stage:
        known = next((run["took_seconds"] for run in reversed(runs.runs)), {})
        run = runs.begin(describe_machine(stage), rounds=rounds, parts=set(parts))
        progress = Progress(parts, known_seconds=known, keep=runs.keep)
        few = max(1, rounds - 2)
        steps = {
            "latency": lambda to: run_latency(
                stage, systems, to, progress.tell, rounds=rounds, seconds=seconds
            ),
            "counts": lambda to: run_counts(stage, systems, to, progress.tell),
            "scripts": lambda to: to.update(measure_scripts(stage)),
            "throughput": lambda to: run_throughput(
                stage, systems, to, progress.tell, rounds=rounds, count=count
            ),
            "workers": lambda to: run_two_workers(stage, to, progress.tell, rounds=rounds, count=count),
            "processes": lambda to: run_processes(stage, to, progress.tell, rounds=rounds, count=count),
            "stages": lambda to: to.update(measure_stages(stage, seconds=seconds, seed=1)),
            "backlog": lambda to: to.update(measure_backlog(stage, rounds=few)),
            "ended": lambda to: to.update(
                measure_ended(stage, rounds=rounds, seconds=seconds, count=options.ended)
            ),
            "history": lambda to: run_history(
                stage, options.revisions.split(","), to, progress.tell, rounds=rounds, seconds=seconds
            ),
        }
        for part in parts:
            progress.begin(part)
            run["took_seconds"].pop(part, None)
            run[part] = {}
            steps[part](run[part])
            progress.end()
            run["took_seconds"] |= progress.took_seconds
            runs.keep()
        print(f"Took {(time.monotonic() - begun) / 60:.1f} min.")


main()
