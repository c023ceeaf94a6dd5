"""`python -m benchmarks`: measure, print a table, keep the figures and draw them."""

import argparse
import json
from pathlib import Path

from benchmarks.history import run_history
from benchmarks.machine import describe_machine
from benchmarks.processes import ROOT
from benchmarks.report import print_report, write_table
from benchmarks.run import run_counts, run_latency, run_processes, run_throughput, run_two_workers
from benchmarks.stage import Stage
from benchmarks.stages import measure_stages
from benchmarks.systems import find_systems
from benchmarks.volume import measure_backlog, measure_ended

PARTS = ("latency", "counts", "throughput", "workers", "processes", "stages", "backlog", "ended", "history")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--systems", default="", help="comma-separated; all by default")
    parser.add_argument("--parts", default=",".join(PARTS[:-1]), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8, help="of steady load in each latency round")
    parser.add_argument("--count", type=int, default=600, help="transfers in each throughput round")
    parser.add_argument("--ended", type=int, default=1_000_000, help="ended records for the part `ended`")
    parser.add_argument("--revisions", default="", help="for `history`: git revisions")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results.json")
    options = parser.parse_args()
    parts, systems = set(options.parts.split(",")), find_systems(options.systems)

    with Stage() as stage:
        kept = json.loads(options.out.read_text()) if options.out.exists() else {}
        results = {"machine": describe_machine(stage)} | {part: kept[part] for part in PARTS if part in kept}
        steps = {
            "latency": lambda: run_latency(stage, systems, rounds=options.rounds, seconds=options.seconds),
            "counts": lambda: run_counts(stage, systems),
            "throughput": lambda: run_throughput(
                stage, systems, rounds=max(1, options.rounds - 2), count=options.count
            ),
            "workers": lambda: run_two_workers(stage, rounds=options.rounds, count=options.count),
            "processes": lambda: run_processes(stage, rounds=options.rounds, count=options.count),
            "stages": lambda: measure_stages(stage, seconds=options.seconds, seed=1),
            "backlog": lambda: measure_backlog(stage, rounds=max(1, options.rounds - 2)),
            "ended": lambda: measure_ended(
                stage, rounds=options.rounds, seconds=options.seconds, count=options.ended
            ),
            "history": lambda: run_history(
                stage, options.revisions.split(","), rounds=options.rounds, seconds=options.seconds
            ),
        }
        for part in PARTS:
            if part in parts:
                results[part] = steps[part]()
                options.out.write_text(json.dumps(results))
    print_report(results)
    write_table(results, ROOT / "docs")


main()
