"""The whole run: rounds in which every system takes its turn, so that a noisy minute hits all alike."""

import time
from collections.abc import Callable

import psutil

from benchmarks.scenes import count_commands, measure_latency, measure_throughput
from benchmarks.stage import Stage
from benchmarks.systems import IN_ONE_PROCESS, System, find_systems

THROUGHPUT = ((8, 0), (8, 50), (32, 0), (32, 50))
"""Concurrency and the stub's delay in milliseconds."""


def run_latency(stage: Stage, systems: list[System], *, rounds: int, seconds: float) -> dict:
    def scene(system: System, number: int) -> dict:
        return measure_latency(stage, system, seconds=seconds, seed=number)

    return _run_rounds("latency", systems, rounds, scene)


def run_throughput(stage: Stage, systems: list[System], *, rounds: int, count: int) -> dict:
    results = {}
    for concurrency, delay_ms in THROUGHPUT:

        def scene(system: System, _: int, concurrency: int = concurrency, delay_ms: int = delay_ms) -> dict:
            wanted = count if not system.is_forking else count // 5
            return measure_throughput(stage, system, concurrency=concurrency, delay_ms=delay_ms, count=wanted)

        fit = [system for system in systems if concurrency <= 8 or not system.is_forking]
        results[f"{concurrency}x{delay_ms}"] = _run_rounds(
            f"throughput {concurrency} at {delay_ms} ms", fit, rounds, scene
        )
    return results


def run_counts(stage: Stage, systems: list[System]) -> dict:
    return _run_rounds("counts", systems, 1, lambda system, _: count_commands(stage, system))


def run_two_workers(stage: Stage, *, rounds: int, count: int) -> dict:
    """One worker and two, each of 8 at a time, at a 50 ms stub: does the second add what the first did?"""
    (ours,) = find_systems("call-transfer")
    turns = {
        str(workers): {"system": ours, "workers": workers, "concurrency": 8, "count": count * workers}
        for workers in (1, 2)
    }
    return _take_turns("two workers", stage, turns, rounds=rounds)


def run_processes(stage: Stage, *, rounds: int, count: int) -> dict:
    """32 slots at a 50 ms stub: in as many processes as the worker chooses, in one, and at the floor."""
    ours, floor = find_systems("call-transfer,floor")
    turns = {
        system.name: {"system": system, "concurrency": 32, "count": 2 * count}
        for system in (ours, IN_ONE_PROCESS, floor)
    }
    return _take_turns("32 slots, spread and in one process", stage, turns, rounds=rounds)


def _take_turns(title: str, stage: Stage, turns: dict[str, dict], *, rounds: int) -> dict:
    results: dict[str, list[dict]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, options in turns.items():
            results[name].append(measure_throughput(stage, delay_ms=50, **options))
        _say(f"{title}, round {number + 1}")
    return results


def _run_rounds(title: str, systems: list[System], rounds: int, scene: Callable[[System, int], dict]) -> dict:
    results: dict[str, list[dict]] = {system.name: [] for system in systems}
    for number in range(rounds):
        # Each round begins elsewhere, so that nobody always runs after the same neighbour.
        turn = number % len(systems)
        for system in systems[turn:] + systems[:turn]:
            psutil.cpu_percent()
            time.sleep(0.5)
            others = psutil.cpu_percent() / 100
            try:
                result = scene(system, number)
            except (RuntimeError, TimeoutError) as error:
                _say(f"{title}: {system.name} failed: {str(error)[-500:]}")
                continue
            results[system.name].append({**result, "machine_busy_before": round(others, 2)})
        _say(f"{title}: round {number + 1} of {rounds}")
    return results


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)
