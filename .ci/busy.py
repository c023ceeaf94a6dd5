"""Run a command on two cores that two endless loops use as well.

Usage: python .ci/busy.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

LOOPS = 2
# Each ends with us, however we end.
LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(10_000))\n"


def main(command: list[str]) -> int:
    """Run the command beside the loops; return its exit code."""
    if hasattr(os, "sched_setaffinity"):  # not on macOS
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(LOOPS)]
    try:
        with subprocess.Popen(command) as running:
            # A terminal's Ctrl-C reaches the command too; whatever else stops us is handed on.
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.signal(signal.SIGTERM, lambda *_: running.terminate())
            return running.wait()
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
