"""The whole run: rounds in which every system takes its turn, so that a noisy minute hits all alike."""

import time
from collections.abc import Callable

import psutil

from benchmarks.figures.targets import DURABILITIES
from benchmarks.parts.scenes import count_commands, measure_latency, measure_throughput
from benchmarks.stage.stage import Stage
from benchmarks.stage.systems import IN_ONE_PROCESS, System, find_systems
from benchmarks.stage.turns import Turn, few_of, plan_rounds

THROUGHPUT = ((8, 0), (8, 50), (32, 0), (32, 50))
"""Concurrency and the stub's delay in milliseconds."""


Tell = Callable[[str, float], None]
"""Called after each round, with a text and the share of the part that is done."""


def run_latency(
    stage: Stage, systems: list[System], into: dict, tell: Tell, *, rounds: int, seconds: float
) -> None:
    """Every system with both durabilities; shorter and in fewer rounds with the one that is not shipped."""

    def scene(system: System, durability: str, number: int) -> dict:
        stage.set_durability(durability)
        share = 1 if durability == DURABILITIES[0] else 0.5
        try:
            return measure_latency(stage, system, seconds=seconds * share, seed=number)
        finally:
            stage.set_durability(DURABILITIES[0])

    turns = [
        Turn(system, durability, into.setdefault(durability, {}), rounds=system.rounds_of(wanted))
        for system in systems
        for durability, wanted in zip(DURABILITIES, (rounds, few_of(rounds)), strict=True)
    ]
    _run_rounds("latency", turns, scene, tell)


def run_throughput(
    stage: Stage, systems: list[System], into: dict, tell: Tell, *, rounds: int, count: int
) -> None:
    """Durable as shipped. All rounds at the 50 ms stub, which the targets are about; few without a delay."""
    for place, (concurrency, delay_ms) in enumerate(THROUGHPUT):

        def scene(
            system: System, _name: str, _: int, concurrency: int = concurrency, delay_ms: int = delay_ms
        ) -> dict:
            wanted = count if not system.is_forking else count // 5
            return measure_throughput(stage, system, concurrency=concurrency, delay_ms=delay_ms, count=wanted)

        name, of_all = f"{concurrency}x{delay_ms}", rounds if delay_ms else few_of(rounds)
        fit = [system for system in systems if concurrency <= 8 or not system.is_forking]
        turns = [
            Turn(system, name, into.setdefault(name, {}), rounds=system.rounds_of(of_all)) for system in fit
        ]

        def tell_part(text: str, share: float, place: int = place) -> None:
            tell(text, (place + share) / len(THROUGHPUT))

        _run_rounds(f"throughput {name} ms", turns, scene, tell_part)


def run_counts(stage: Stage, systems: list[System], into: dict, tell: Tell) -> None:
    turns = [Turn(system, "", into, rounds=1) for system in systems]
    _run_rounds("counts", turns, lambda system, *_: count_commands(stage, system), tell)


def run_two_workers(stage: Stage, into: dict, tell: Tell, *, rounds: int, count: int) -> None:
    """One worker and two, each of 8 at a time, at a 50 ms stub: does the second add what the first did?"""
    (ours,) = find_systems("call-transfer")
    turns = {
        str(workers): {"system": ours, "workers": workers, "concurrency": 8, "count": count * workers}
        for workers in (1, 2)
    }
    _take_turns("two workers", stage, turns, into, tell, rounds=rounds)


def run_processes(stage: Stage, into: dict, tell: Tell, *, rounds: int, count: int) -> None:
    """32 slots at a 50 ms stub: in as many processes as the worker chooses, in one, and at the floor."""
    ours, floor = find_systems("call-transfer,floor")
    turns = {
        system.name: {"system": system, "concurrency": 32, "count": 2 * count}
        for system in (ours, IN_ONE_PROCESS, floor)
    }
    _take_turns("32 slots, spread and in one process", stage, turns, into, tell, rounds=rounds)


def _take_turns(
    title: str, stage: Stage, turns: dict[str, dict], into: dict, tell: Tell, *, rounds: int
) -> None:
    for number in range(rounds):
        for name, options in turns.items():
            result = measure_throughput(stage, delay_ms=50, **options)
            into.setdefault(name, []).append({**result, "round": number})
        tell(f"{title}: round {number + 1} of {rounds}", (number + 1) / rounds)


def _run_rounds(title: str, turns: list[Turn], scene: Callable[[System, str, int], dict], tell: Tell) -> None:
    for turn in turns:
        turn.into.setdefault(turn.system.name, [])
    rounds, done = plan_rounds(turns), 0
    for number, due in enumerate(rounds):
        for turn in due:
            psutil.cpu_percent()
            time.sleep(0.5)
            others = psutil.cpu_percent() / 100
            done += 1
            share = done / sum(map(len, rounds))
            what = f"{title}, round {number + 1} of {len(rounds)}: {turn.system.name} {turn.variant}".rstrip()
            try:
                result = scene(turn.system, turn.variant, number)
            except (RuntimeError, TimeoutError) as error:
                tell(f"{what} failed: {str(error)[-500:]}", share)
                continue
            # Figures are compared within a round: one that failed is missing, and moves no other.
            turn.into[turn.system.name].append(
                {**result, "round": number, "machine_busy_before": round(others, 2)}
            )
            tell(what, share)
