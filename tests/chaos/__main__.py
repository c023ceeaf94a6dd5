"""The command: `python -m chaos --seed 7 --minutes 3`. Exit code 1 if a promise was broken."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
from pathlib import Path

from chaos.report import format_findings, format_summary
from chaos.run import Plan, as_json, run
from chaos.schedule import MIDDLEMAN


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="plans the same again; random if not given")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long sessions and faults begin")
    parser.add_argument(
        "--per-second", type=float, default=20.0, help="new sessions a second, all kinds together"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep logs and history in a new directory")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    again = f"make chaos SEED={seed} MINUTES={asked.minutes:g}"
    # What the sessions' side warns of is the point of a run, and in its history.
    logging.getLogger("transfer_tasks").addHandler(logging.NullHandler())
    # As Ctrl-C does, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not asked.json:
        print(f"{again}", flush=True)
    result = run(
        Plan(
            seed=seed,
            seconds=asked.minutes * 60,
            per_second=0.75 * asked.per_second,
            middleman=MIDDLEMAN,
            plain_per_second=0.05 * asked.per_second,
            connections_per_second=0.1 * asked.per_second,
            companions_per_second=0.2 * asked.per_second,
            has_neighbour=True,
            directory=asked.keep,
        )
    )
    findings = result.verdict.findings
    if asked.json:
        print(as_json(result))
    else:
        print(format_summary(result.summary))
    if findings and not asked.json:
        print(f"\n{format_findings(result.history, findings)}")
        print(f"\n{len(findings)} findings. The same plan again: {again}")
    return 1 if findings else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
