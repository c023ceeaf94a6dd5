"""How the places of a worker, the transfers that it carries out at a time, are spread over its processes."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transfer_worker.settings import WorkerSettings

PLACES_PER_PROCESS: Final = 16
"""With more, Python's lock bounds a process before its places do (docs/performance.md)."""


def spread_places(settings: WorkerSettings) -> list[int]:
    """Return the places of each process of a worker with these settings; one number a process."""
    places = settings.concurrency
    return share_places(places, processes=settings.processes or count_processes(places, cpus=count_cpus()))


def count_processes(places: int, *, cpus: int) -> int:
    """Return one process for every 16 places begun, but no more than there are CPUs for them."""
    return min(math.ceil(places / PLACES_PER_PROCESS), cpus)


def share_places(places: int, *, processes: int) -> list[int]:
    """Return the places of each process: their sum is `places`, and no two differ by more than one."""
    share, rest = divmod(places, processes)
    return [share + (number < rest) for number in range(processes)]


def count_cpus() -> int:
    """Return how many CPUs this process may use.

    A container's share of their time (``docker run --cpus``) is no affinity, and does not count.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
