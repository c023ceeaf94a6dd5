"""Who else is there: a neighbour on that Redis, plain Celery, wrong clocks, forked publishers, a witness."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from chaos.cluster import TESTS
from chaos.companions import start_companions
from chaos.neighbour import Neighbour
from chaos.plain_celery import PlainProducer
from chaos.witness import read_beats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.cluster import Cluster
    from chaos.companions import Companion
    from chaos.history import Ask, Fault
    from chaos.neighbour import NeighbourTask
    from chaos.run import Plan
    from chaos.witness import Beat
    from support import SpawnedProcess


class Surroundings:
    """All of them together, as far as a plan has them.

    Args:
        plan: How many of each, and for how long.
        cluster: Where they live.
    """

    def __init__(self, plan: Plan, cluster: Cluster) -> None:
        self._plan, self._cluster = plan, cluster
        self._plain = PlainProducer(
            cluster.redis.url, seed=plan.seed, per_second=plan.plain_per_second, seconds=plan.seconds
        )
        self._beats_path = cluster.directory / "witness.txt"
        self._witness: SpawnedProcess | None = None
        self._neighbour: Neighbour | None = None
        self._companions: list[Companion] = []

    def start(self) -> None:
        """Begin; return when the neighbour's worker is there."""
        plan, cluster = self._plan, self._cluster
        self._witness = cluster.spawn(
            [sys.executable, "-m", "chaos.witness", str(self._beats_path)],
            env={"PYTHONPATH": str(TESTS)},
            name="witness",
        )
        cluster.watch(self._witness.pid)
        if plan.has_neighbour:
            self._neighbour = Neighbour(
                cluster.redis.url, cluster.spawn, cluster.watch, TESTS, seed=plan.seed, seconds=plan.seconds
            )
            self._neighbour.start()
        if plan.companions_per_second:
            self._companions = start_companions(
                cluster.publisher_urls(),
                cluster.spawn,
                TESTS,
                cluster.directory,
                seed=plan.seed,
                per_second=plan.companions_per_second,
                seconds=plan.seconds,
            )
            for companion in self._companions:
                cluster.watch(companion.process.pid)
        self._plain.start()

    def stop(self) -> None:
        """Ask for nothing more."""
        self._plain.stop()
        if self._neighbour is not None:
            self._neighbour.stop()

    def end(self) -> None:
        """Leave no process behind."""
        processes = [companion.process for companion in self._companions]
        processes += [self._neighbour.worker] if self._neighbour else []
        processes += [self._witness] if self._witness else []
        for process in processes:
            process.kill_group()

    def collect_beats(self) -> list[Beat]:
        """Return what the witness has seen of the machine."""
        return read_beats(self._beats_path)

    def collect_asks(self) -> list[Ask]:
        """Wait for the sessions in other processes; return what all have asked and heard."""
        asks = [ask for companion in self._companions for ask in companion.collect()]
        return [*self._plain.asks, *asks]

    def collect_neighbour_tasks(self, faults: Sequence[Fault]) -> list[NeighbourTask]:
        """Wait until the neighbour's tasks are due; return how often each was begun."""
        return [] if self._neighbour is None else self._neighbour.collect(faults)
