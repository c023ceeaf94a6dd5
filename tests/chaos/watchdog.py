"""Ends what a driver started when the driver is gone, however it went: `python -m chaos.watchdog`.

Reads process ids from stdin, one a line, and holds on to each process (pidfd_open(2)), so that a number which
the system gives to another process meanwhile hits nobody. The end of stdin is the end of the driver.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watched = []
    for line in sys.stdin:
        with contextlib.suppress(OSError):
            watched.append(os.pidfd_open(int(line)))
    for descriptor in watched:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


if __name__ == "__main__":
    main()
