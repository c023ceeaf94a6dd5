"""Run the stages of `make test` in order; stop at the first that fails.

Usage: python .ci/stages.py [STAGE ...]     without a name: all of them
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHAOS = ["/usr/bin/env", "PYTHONPATH=tests", sys.executable, "-m", "chaos"]

STAGES: dict[str, list[list[str]]] = {
    "lint": [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports"],
        ["yamllint", "--strict", "docker-compose.yml", "monitoring"],
    ],
    "alerts": [
        ["/bin/sh", ".ci/promtool", str(BIN / "promtool")],
        ["promtool", "test", "rules", "monitoring/alerts_test.yml"],
        ["promtool", "check", "config", "monitoring/prometheus.yml"],
    ],
    "unit": [["pytest", "tests/unit"]],
    "contract": [["pytest", "tests/contract"]],
    "install": [["pytest", "tests/install"]],
    "integration": [["pytest", "tests/integration"]],
    "browser": [["/bin/sh", ".ci/browser"], ["pytest", "tests/browser"]],
    "chaos": [
        ["pytest", "tests/chaos"],
        [*CHAOS, "--seed", "7", "--minutes", "1.5"],
        [*CHAOS, "--minutes", "0.3"],  # a seed of its own each time; it is printed
    ],
    "voice": [["/bin/sh", ".ci/voice", "pytest", "-W", "default", "tests/voice"]],
}


def run_stage(name: str) -> int:
    """Run the commands of a stage up to the first that fails; return its exit code."""
    for program, *arguments in STAGES[name]:
        print(f"$ {' '.join([program, *arguments])}", flush=True)
        code = subprocess.run(
            [BIN / program, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, check=False
        ).returncode
        if code:
            return code
    return 0


def main(names: list[str]) -> int:
    """Run the named stages and print what each took; return the first failure's exit code."""
    if unknown := sorted(set(names) - set(STAGES)):
        print(f"No such stage: {', '.join(unknown)}. There are: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    code, lines = 0, []
    for name in names or list(STAGES):
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        code = run_stage(name)
        verdict = f"FAILED (exit code {code})" if code else "passed"
        seconds = time.monotonic() - started
        print(f"=== {name} {verdict} in {seconds:.1f} s", flush=True)
        lines.append(f"{name:<16}{seconds:>8.1f} s  {verdict}")
        if code:
            break
    print("\n" + "\n".join(lines), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
