"""`python -m benchmarks`: measure, print a table, keep the figures and draw them."""

import argparse
import signal
import sys
import time
import traceback
from pathlib import Path

from benchmarks.figures.progress import Progress
from benchmarks.figures.runs import WHOLE, WHOLE_ROUNDS, Runs, known_seconds
from benchmarks.figures.targets import ENDED
from benchmarks.pages.plot import draw_plots
from benchmarks.pages.report import print_report, write_tables
from benchmarks.parts.history import run_history
from benchmarks.parts.mixed import measure_mixed
from benchmarks.parts.run import run_counts, run_latency, run_processes, run_throughput, run_two_workers
from benchmarks.parts.scripts import measure_scripts
from benchmarks.parts.stages import measure_stages
from benchmarks.parts.volume import measure_backlog, measure_ended
from benchmarks.stage.machine import describe_machine
from benchmarks.stage.processes import ROOT
from benchmarks.stage.room import NoRoom
from benchmarks.stage.stage import Stage
from benchmarks.stage.systems import SYSTEMS, find_systems
from benchmarks.stage.turns import few_of

PARTS = (*WHOLE, "ended", "history")
RESULTS = ROOT / "benchmarks" / "results.json"
DOCS = ROOT / "docs"


def main() -> None:
    parser = _make_parser()
    options = parser.parse_args()
    wanted = set(options.parts.split(","))
    if unknown := wanted - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    find_systems(options.systems)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended

    runs, failed = Runs(options.out), []
    try:
        failed = _measure(runs, [part for part in PARTS if part in wanted], options)
    except KeyboardInterrupt:
        failed = ["the rest"]
        print("\nInterrupted; what is done is kept. The parts that lack can be named with --parts.")
    if not runs.runs:
        return
    print_report(runs.runs)
    if options.out.resolve() == RESULTS:
        write_tables(runs.runs, DOCS)
        draw_plots(runs.runs[-1], DOCS)
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}.")


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--systems", default="", help="comma-separated; all by default")
    parser.add_argument("--parts", default=",".join(WHOLE), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=WHOLE_ROUNDS)
    parser.add_argument("--seconds", type=float, default=8, help="of steady load in each latency round")
    parser.add_argument("--count", type=int, default=600, help="transfers in each throughput round")
    parser.add_argument("--mixed-seconds", type=float, default=600, help="how long the part `mixed` goes on")
    parser.add_argument("--ended", type=int, default=ENDED, help="ended records for the part `ended`")
    parser.add_argument("--revisions", default="840ad3e,HEAD", help="for `history`: git revisions")
    parser.add_argument("--out", type=Path, default=RESULTS, help="another file leaves the page alone")
    return parser


def _is_short(options: argparse.Namespace) -> bool:
    """Say whether the options ask for less than a whole run does, its rounds apart."""
    usual = _make_parser().parse_args([])
    return bool(options.systems) or any(
        getattr(options, name) < getattr(usual, name) for name in ("seconds", "count", "mixed_seconds")
    )


def _measure(runs: Runs, parts: list[str], options: argparse.Namespace) -> list[str]:
    """Measure these parts; return those that failed."""
    systems, begun = find_systems(options.systems), time.monotonic()
    failed: list[str] = []
    is_short = _is_short(options)
    is_usual = not is_short and options.rounds == WHOLE_ROUNDS
    known = known_seconds(runs.runs) if is_usual else {}
    with Stage() as stage:
        run = runs.begin(describe_machine(stage), rounds=options.rounds, parts=set(parts), is_short=is_short)
        share = options.rounds / WHOLE_ROUNDS * len(systems) / len(SYSTEMS)
        known = {"mixed": options.mixed_seconds + 30} | known
        progress = Progress(parts, known_seconds=known, keep=runs.keep, share=share)
        for part in parts:
            progress.begin(part)
            run["took_seconds"].pop(part, None)
            run[part] = {}
            try:
                _measure_part(part, stage, systems, run[part], progress, options)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others' figures are kept and told
                if not isinstance(error, NoRoom):
                    traceback.print_exc()
                print(f"The part {part} failed; the others go on. {error}", flush=True)
                failed.append(part)
                progress.drop()
                continue
            progress.end()
            run["took_seconds"] |= progress.took_seconds
            runs.keep()
        print(f"Took {(time.monotonic() - begun) / 60:.1f} min.")
    return failed


def _measure_part(
    part: str, stage: Stage, systems: list, into: dict, progress: Progress, options: argparse.Namespace
) -> None:
    rounds, seconds, count, tell = options.rounds, options.seconds, options.count, progress.tell
    match part:
        case "latency":
            run_latency(stage, systems, into, tell, rounds=rounds, seconds=seconds)
        case "counts":
            run_counts(stage, systems, into, tell)
        case "scripts":
            into |= measure_scripts(stage)
        case "throughput":
            run_throughput(stage, systems, into, tell, rounds=rounds, count=count)
        case "workers":
            run_two_workers(stage, into, tell, rounds=rounds, count=count)
        case "processes":
            run_processes(stage, into, tell, rounds=max(1, rounds - 2), count=count)
        case "stages":
            into |= measure_stages(stage, seconds=seconds, seed=1)
        case "backlog":
            into |= measure_backlog(stage, rounds=few_of(rounds))
        case "mixed":
            measure_mixed(stage, into, tell, seconds=options.mixed_seconds)
        case "ended":
            measure_ended(stage, into, tell, rounds=rounds, seconds=seconds, count=options.ended)
        case "history":
            run_history(stage, options.revisions.split(","), into, tell, rounds=rounds, seconds=seconds)


if __name__ == "__main__":
    main()
