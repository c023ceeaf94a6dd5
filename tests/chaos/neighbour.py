"""Somebody else's Celery application on the same Redis database, with short, long and delayed tasks."""

from __future__ import annotations

import random
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from chaos.faults import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from chaos.history import Fault
    from support import ProcessSpawner, SpawnedProcess

START_SECONDS: Final = 30.0
GAP_SECONDS: Final = 1.5
STOP_OURS_SECONDS: Final = 10.0
LONGER_THAN_OUR_VISIBILITY_TIMEOUT: Final = 14.0
SLACK_SECONDS: Final = 6.0
"""From when a task is due until it has begun and ended, on a machine that has much to do."""

QUEUE_OF_OURS: Final = "transfers"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourTask:
    """One task of the neighbour's.

    Attributes:
        until_ms: When it has ended, if nothing came in between.
        starts: How often its worker began it.
    """

    run_id: str
    sent_ms: float
    until_ms: float
    starts: int = 0


class Neighbour:
    """Its worker, and who sends it tasks; now and then it tells all workers to leave the queue of ours.

    Its worker is Celery's own, which some outages of Redis end (kombu 5.7.0); then somebody starts it again.

    Args:
        url: Redis's address.
        spawn: Starts the worker.
        watch: Has a process end with this one.
        tests: Where the application's module is.
        seed: Where every decision comes from.
        seconds: How long tasks are sent.
    """

    def __init__(
        self,
        url: str,
        spawn: ProcessSpawner,
        watch: Callable[[int], object],
        tests: Path,
        *,
        seed: int,
        seconds: float,
    ) -> None:
        self._url, self._seconds, self._watch = url, seconds, watch
        self._chance = random.Random(f"{seed}/neighbour")
        self._sent: list[NeighbourTask] = []
        self._app = Celery("neighbour", broker=url, set_as_current=False)
        self._spawn, self._tests = spawn, tests
        self._worker = self._start_worker()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="neighbour", daemon=True)

    def _start_worker(self) -> SpawnedProcess:
        worker = self._spawn(
            [sys.executable, "-m", "celery", "-A", "support.neighbour_app", "worker", "-c", "16",
             "-P", "threads", "-l", "INFO", "-n", "neighbour@chaos"],
            env={"TRANSFER_REDIS_URL": self._url, "PYTHONPATH": str(self._tests)},
            name="neighbour",
        )  # fmt: skip
        self._watch(worker.pid)
        return worker

    @property
    def worker(self) -> SpawnedProcess:
        """Its process."""
        return self._worker

    def start(self) -> None:
        """Begin, once its worker is there."""
        self._worker.wait_for_output(r"ready\.", START_SECONDS)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._app.close()

    def collect(self, faults: Sequence[Fault]) -> list[NeighbourTask]:
        """Wait until what nothing disturbed is due; return all tasks with how often each was begun."""
        due_ms = max((task.until_ms for task in self._sent if not is_disturbed(task, faults)), default=0.0)
        time.sleep(max(0.0, due_ms - now_ms()) / 1000)
        with redis.Redis.from_url(self._url, socket_timeout=5.0) as client:
            keys = [f"neighbour:starts:{task.run_id}" for task in self._sent]
            counts = cast("list[bytes | None]", client.mget(keys)) if keys else []
        return [
            NeighbourTask(
                run_id=task.run_id, sent_ms=task.sent_ms, until_ms=task.until_ms, starts=int(count or 0)
            )
            for task, count in zip(self._sent, counts, strict=True)
        ]

    def _keep_worker(self) -> None:
        """Start its worker again where it is dead, or has said that it is and hangs in its own end."""
        if self._worker.is_running() and "Unrecoverable error" not in self._worker.output():
            return
        self._worker.kill_group()
        self._worker = self._start_worker()

    def _run(self) -> None:
        started = stopped_ours = time.monotonic()
        while not self._ending.wait(GAP_SECONDS) and time.monotonic() - started < self._seconds:
            self._keep_worker()
            run_id = f"{len(self._sent)}"
            kind = self._chance.choice(("short", "short", "long", "delayed"))
            long_seconds = LONGER_THAN_OUR_VISIBILITY_TIMEOUT
            seconds = long_seconds if kind == "long" else 0.2
            delay = long_seconds if kind == "delayed" else 0.0
            sent_ms = now_ms()
            try:
                self._app.send_task("neighbour.hold", (run_id, seconds), countdown=delay or None, retry=False)
                if time.monotonic() - stopped_ours > STOP_OURS_SECONDS:
                    stopped_ours = time.monotonic()
                    self._app.control.cancel_consumer(QUEUE_OF_OURS)
            except (OperationalError, redis.RedisError, OSError):
                continue
            until_ms = now_ms() + (delay + seconds + SLACK_SECONDS) * 1000
            self._sent.append(NeighbourTask(run_id=run_id, sent_ms=sent_ms, until_ms=until_ms))


def is_disturbed(task: NeighbourTask, faults: Iterable[Fault]) -> bool:
    """Whether Redis was away while the task was under way: Celery may run it again then, or later."""
    return any(
        fault.target in {"redis", "machine"} and fault.overlaps(task.sent_ms, task.until_ms)
        for fault in faults
    )


def find_neighbour_faults(
    tasks: Iterable[NeighbourTask], faults: Sequence[Fault]
) -> Iterator[tuple[str, str]]:
    """Yield each task that was not run once though nothing came in between, and what became of it."""
    for task in tasks:
        if task.starts != 1 and not is_disturbed(task, faults):
            yield f"neighbour's {task.run_id}", f"was begun {task.starts} times"
