"""Carries a schedule out on a cluster, and keeps a log of what was done when."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from chaos.cluster import end_worker, stop_worker
from chaos.history import Fault
from support import TO_CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.cluster import Cluster, WorkerSlot
    from chaos.schedule import PlannedFault
    from support import FaultProxy

DELAY_SECONDS: Final = 0.1
"""Each way, on a slow line."""

LATE_SECONDS: Final = 0.3
"""A thread that wakes up so much too late says that the machine is starved."""


def now_ms() -> float:
    return time.time() * 1000


class FaultInjector:
    """Runs the planned faults, each on a thread of its own and one at a time on each target.

    Args:
        cluster: What is broken.
        planned: The schedule.

    Attributes:
        log: What was done; the machine's own hiccups are in it as kind `starved`.
        slow_stops: Workers that had to be killed because they did not stop when they were asked to.
    """

    def __init__(self, cluster: Cluster, planned: Sequence[PlannedFault]) -> None:
        self.log: list[Fault] = []
        self.slow_stops: list[str] = []
        self._cluster, self._planned = cluster, planned
        self._stopping = threading.Event()
        self._busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._threads = [
            threading.Thread(target=self._run_schedule),
            threading.Thread(target=self._watch_clock),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every fault, and return when all is whole again."""
        self._stopping.set()
        self._threads[0].join()
        for thread in self._threads:
            thread.join()

    def _run_schedule(self) -> None:
        started = time.monotonic()
        for planned in self._planned:
            if self._stopping.wait(max(0.0, started + planned.at_seconds - time.monotonic())):
                return
            thread = threading.Thread(target=self._run_fault, args=(planned,), name=planned.kind)
            self._threads.append(thread)
            thread.start()

    def _run_fault(self, planned: PlannedFault) -> None:
        # Redis alone is one target under two kinds; a worker and its line to Redis are one, too.
        lock = self._busy[planned.target]
        if not lock.acquire(blocking=False):
            return
        try:
            fault = Fault(kind=planned.kind, target=planned.target, begun_ms=now_ms())
            self.log.append(fault)
            try:
                self._inflict(planned)
            finally:
                fault.ended_ms = now_ms()
        finally:
            lock.release()

    def _inflict(self, planned: PlannedFault) -> None:
        kind, seconds = planned.kind, planned.seconds
        if planned.target == "redis":
            self._break_redis(kind, seconds)
        elif planned.target == "platform":
            self._break_line(self._cluster.platform, kind.removeprefix("platform_"), seconds)
        elif kind in {
            "kill",
            "kill_child",
            "kill_supervisor",
            "pause_short",
            "pause_long",
            "terminate",
            "audit_full",
        }:
            self._break_worker(self._cluster.workers[planned.target], kind, seconds)
        else:
            self._break_line(self._cluster.lines[planned.target], kind, seconds)

    def _break_worker(self, worker: WorkerSlot, kind: str, seconds: float) -> None:
        pid = worker.find_child_pid()
        match kind:
            case "kill":
                end_worker(worker)
                self._stopping.wait(seconds)
                worker.start()
            case "kill_supervisor":
                worker.process.send_signal(signal.SIGKILL)
            case "terminate":
                if not stop_worker(worker):
                    self.slow_stops.append(worker.name)
                self._stopping.wait(seconds)
                worker.start()
            case "kill_child" if pid is not None:
                _signal(pid, signal.SIGKILL)
            case "audit_full":
                self._cluster.set_audit_full(worker.name, is_full=True)
                if pid is not None:
                    _signal(pid, signal.SIGKILL)
                self._stopping.wait(seconds)
                self._cluster.set_audit_full(worker.name, is_full=False)
            case "pause_short" | "pause_long" if pid is not None:
                _signal(pid, signal.SIGSTOP)
                self._stopping.wait(seconds)
                _signal(pid, signal.SIGCONT)

    def _break_redis(self, kind: str, seconds: float) -> None:
        redis = self._cluster.redis
        if kind == "redis_pause":
            redis.pause()
            self._stopping.wait(seconds)
            redis.resume()
        else:
            redis.kill()
            self._stopping.wait(seconds)
            redis.restart()

    def _break_line(self, line: FaultProxy, kind: str, seconds: float) -> None:
        breaks: dict[str, Sequence[Callable[[], None]]] = {
            "cut": (line.cut,),
            "cut_at_answer": (lambda: line.cut_at_next_answer(2),),
            "half_open": (line.abandon_servers,),
            "refuse": (line.refuse, line.cut),
            "blackhole": (line.drop,),
            "hold": (line.hold,),
            "lose_answers": (lambda: line.drop(TO_CLIENT),),
            "delay": (lambda: line.delay(DELAY_SECONDS),),
        }
        for do in breaks[kind]:
            do()
        if seconds:
            self._stopping.wait(seconds)
            line.heal()
            if kind in {"blackhole", "lose_answers"}:
                line.cut()  # bytes are missing in the middle of what was open

    def _watch_clock(self) -> None:
        while not self._stopping.is_set():
            asleep_ms = now_ms()
            time.sleep(0.05)
            woken_ms = now_ms()
            if woken_ms - asleep_ms > 50 + LATE_SECONDS * 1000:
                self.log.append(
                    Fault(kind="starved", target="machine", begun_ms=asleep_ms, ended_ms=woken_ms)
                )


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
