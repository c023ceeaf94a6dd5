"""How the slots of a worker, the transfers that it carries out at a time, are spread over its processes."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transfer_worker.settings import WorkerSettings

SLOTS_PER_PROCESS: Final = 16
"""With more, Python's lock bounds a process before its slots do (docs/performance.md)."""


def spread_slots(settings: WorkerSettings) -> list[int]:
    """Return the slots of each process of a worker with these settings; one number a process."""
    slots = settings.concurrency
    return share_slots(slots, processes=settings.processes or count_processes(slots, cpus=count_cpus()))


def count_processes(slots: int, *, cpus: int) -> int:
    """Return one process for every 16 slots begun, but no more than there are CPUs for them."""
    return min(math.ceil(slots / SLOTS_PER_PROCESS), cpus)


def share_slots(slots: int, *, processes: int) -> list[int]:
    """Return the slots of each process: their sum is `slots`, and no two differ by more than one."""
    share, rest = divmod(slots, processes)
    return [share + (number < rest) for number in range(processes)]


def count_cpus() -> int:
    """Return how many CPUs this process may use.

    A container's share of their time (``docker run --cpus``) is not an affinity, and does not count.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
