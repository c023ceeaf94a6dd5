"""What somebody should look at of the workers: who is gone, restarted, changed, or unlike the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transfer_worker.monitoring.differences import find_differences
from transfer_worker.operations.status.concern import Concern, tell_since, tell_span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_worker.monitoring.differences import Difference
    from transfer_worker.monitoring.present import Present
    from transfer_worker.monitoring.statistics import Status

OLD_WAITING_SECONDS: Final = 3.0
"""Every request is claimed within milliseconds while workers run: a caller hears the difference."""

GONE_MS: Final = 900_000
"""How long one that is gone, and has no successor of its name, is a concern: it may be replaced elsewhere."""

NAMED_WORKERS: Final = 5

MANY_RESTARTS: Final = 3
STEADY_SECONDS: Final = 300
"""A worker that has run for so long has come through."""


def find_concerns_of_workers(status: Status) -> Iterator[Concern]:
    """Yield what is wrong with workers, and what waits for them."""
    present = status.present
    gone = [worker for worker in present.workers if not worker.is_alive]
    if status.redis.refuses_writes:
        pass  # heartbeats are writes: who lives can't be told
    elif len(gone) == len(present.workers):
        age = present.heartbeat_age_seconds
        since = "there was never one" if age is None else f"the last one {tell_span(age)} ago"
        yield Concern(text=f"No worker gives a sign of life ({since})", command="call-transfer doctor")
    else:
        alive = {worker.worker.partition("/")[0] for worker in present.workers if worker.is_alive}
        names = [worker.worker for worker in gone]
        names += [
            f"{lost.worker} ({tell_since(lost.last_heartbeat_ms)})"
            for lost in present.gone
            if lost.node not in alive and present.now_ms - lost.last_heartbeat_ms < GONE_MS
        ]
        if names:
            yield Concern(text=f"A worker is gone: {', '.join(names)}", command="call-transfer tail")
    yield from _concerns_of_heartbeats(present)
    yield from _concerns_of_differences(present)
    if present.oldest_waiting_seconds > OLD_WAITING_SECONDS:
        yield Concern(
            text=f"{present.waiting} waiting, the oldest for {tell_span(present.oldest_waiting_seconds)}",
            command="call-transfer list --state waiting",
        )


def _concerns_of_heartbeats(present: Present) -> Iterator[Concern]:
    """Yield what living workers say of themselves."""
    for worker in present.workers:
        restarts, up_seconds = _count(worker.about.get("restarts")), _count(worker.about.get("up_seconds"))
        if worker.is_alive and restarts >= MANY_RESTARTS and up_seconds < STEADY_SECONDS:
            yield Concern(
                text=f"{worker.worker} is restarted again and again: {restarts} times, "
                f"the last {up_seconds} s ago; its log says why (worker.restarted)",
                command="call-transfer tail",
            )
        changes = worker.about.get("remote_control")
        if worker.is_alive and isinstance(changes, list) and changes:
            yield Concern(
                text=f"Remote control has changed {worker.worker}, until it restarts: "
                + "; ".join(str(change)[:200] for change in changes),
                command="call-transfer tail --no-follow",
            )


def _concerns_of_differences(present: Present) -> Iterator[Concern]:
    differences = find_differences(present.workers)
    if differences:
        told = "; ".join(map(tell_difference, differences))
        yield Concern(text=f"Workers differ, and so do their answers: {told}", command="call-transfer doctor")


def tell_difference(difference: Difference) -> str:
    """Return what is different, and at whom."""
    names = ", ".join(difference.workers[:NAMED_WORKERS])
    more = f" and {left} more" if (left := len(difference.workers[NAMED_WORKERS:])) else ""
    return f"{difference.what} at {names}{more} ({len(difference.workers)} of {difference.among})"


def _count(value: object) -> int:
    """Return a number that a heartbeat names; 0 for anything else."""
    return value if isinstance(value, int) else 0
