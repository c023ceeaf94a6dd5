"""The whole run: rounds in which every system takes its turn, so that a noisy minute hits all alike."""

import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

from benchmarks.scenes import count_commands, measure_latency, measure_throughput
from benchmarks.stage import Stage
from benchmarks.systems import IN_ONE_PROCESS, System, find_systems

THROUGHPUT = ((8, 0), (8, 50), (32, 0), (32, 50))
"""Concurrency and the stub's delay in milliseconds."""


DURABILITIES = ("always", "everysec")
"""Redis's `appendfsync`: as this project ships, and as queues are often run."""

Tell = Callable[[str, float], None]
"""Called after each round, with a text and the share of the part that is done."""


def run_latency(
    stage: Stage, systems: list[System], into: dict, tell: Tell, *, rounds: int, seconds: float
) -> None:
    """Every system with each durability in each round; half as long with the one that is not shipped."""

    def scene(system: System, durability: str, number: int) -> dict:
        stage.set_durability(durability)
        share = 1 if durability == DURABILITIES[0] else 0.5
        try:
            return measure_latency(stage, system, seconds=seconds * share, seed=number)
        finally:
            stage.set_durability(DURABILITIES[0])

    turns = [
        Turn(system, durability, into.setdefault(durability, {}))
        for system in systems
        for durability in DURABILITIES
    ]
    _run_rounds("latency", turns, rounds, scene, tell)


def run_throughput(
    stage: Stage, systems: list[System], into: dict, tell: Tell, *, rounds: int, count: int
) -> None:
    """Durable as shipped. All rounds at the 50 ms stub, which the targets are about; two without a delay."""
    for place, (concurrency, delay_ms) in enumerate(THROUGHPUT):

        def scene(
            system: System, _name: str, _: int, concurrency: int = concurrency, delay_ms: int = delay_ms
        ) -> dict:
            wanted = count if not system.is_forking else count // 5
            return measure_throughput(stage, system, concurrency=concurrency, delay_ms=delay_ms, count=wanted)

        name = f"{concurrency}x{delay_ms}"
        fit = [system for system in systems if concurrency <= 8 or not system.is_forking]
        turns = [Turn(system, name, into.setdefault(name, {})) for system in fit]

        def tell_part(text: str, share: float, place: int = place) -> None:
            tell(text, (place + share) / len(THROUGHPUT))

        _run_rounds(f"throughput {name} ms", turns, rounds if delay_ms else min(2, rounds), scene, tell_part)


def run_counts(stage: Stage, systems: list[System], into: dict, tell: Tell) -> None:
    turns = [Turn(system, "", into) for system in systems]
    _run_rounds("counts", turns, 1, lambda system, *_: count_commands(stage, system), tell)


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


class Turn(NamedTuple):
    """One system's turn in a round, in one variant; its figures go into `into`, under its name."""

    system: System
    variant: str
    into: dict[str, list[dict]]


def _run_rounds(
    title: str,
    turns: list[Turn],
    rounds: int,
    scene: Callable[[System, str, int], dict],
    tell: Tell,
) -> None:
    for turn in turns:
        turn.into.setdefault(turn.system.name, [])
    for number in range(rounds):
        # Each round begins elsewhere, so that nobody always runs after the same neighbour.
        first = number * (len(turns) // rounds or 1) % len(turns)
        for place, turn in enumerate(turns[first:] + turns[:first], start=1):
            psutil.cpu_percent()
            time.sleep(0.5)
            others = psutil.cpu_percent() / 100
            share = (number + place / len(turns)) / rounds
            what = f"{title}, round {number + 1} of {rounds}: {turn.system.name} {turn.variant}"
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
