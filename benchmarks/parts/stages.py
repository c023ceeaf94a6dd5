"""Where a transfer's milliseconds go: a histogram for each step between submission and settling."""

import json
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.figures.numbers import percentile
from benchmarks.parts.scenes import PER_SECOND, WARM_COUNT
from benchmarks.parts.staged_worker_steps import STEPS
from benchmarks.stage.processes import ProcessTree
from benchmarks.stage.stage import Stage, new_calls
from benchmarks.stage.systems import BIN, find_systems

BOUNDS_MS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)


def measure_stages(stage: Stage, *, seconds: float, seed: int) -> dict:
    """At a steady 50/s: for each step, milliseconds since the step before."""
    stage.clear(delay_ms=50)
    system = find_systems("call-transfer")[0]
    file = stage.directory / f"stages-{time.monotonic_ns()}.json"
    count = WARM_COUNT + round(seconds * PER_SECOND)
    command = [
        str(BIN / "celery"), "-A", "benchmarks.parts.staged_worker", "worker", "-c", "8",
        "--without-mingle", "--without-gossip", "-l", "WARNING",
    ]  # fmt: skip
    with stage.producer(system) as producer:
        tree = ProcessTree(command, env=stage.environment(concurrency=8) | {"BENCH_STAGES_FILE": str(file)})
        try:
            producer.ask({"do": "submit", "calls": new_calls(1)})
            stage.stub.wait_for(1, worker=tree)
            stage.stub.take()
            told = producer.ask(
                {"do": "pace", "calls": new_calls(count), "per_second": PER_SECOND, "seed": seed}
            )
            stage.stub.wait_for(count, worker=tree)
            time.sleep(0.3)
        finally:
            tree.stop()
    posts = stage.stub.take()
    by_transfer = json.loads(Path(file).read_text())
    spans: dict[str, list[float]] = {step: [] for step in STEPS[1:]}
    for call in list(told["times"])[WARM_COUNT:]:
        times = by_transfer[told["ids"][call]] | {"submit": told["times"][call][0], "POST": posts[call][0]}
        for before, step in pairwise(STEPS):
            if before in times and step in times:
                spans[step].append((times[step] - times[before]) / 1e6)
    return {step: _describe(values) for step, values in spans.items() if values}


def _describe(values: list[float]) -> dict:
    histogram = [sum(low < value <= high for value in values) for low, high in _buckets()]
    return {"p50_ms": percentile(values, 50), "p99_ms": percentile(values, 99), "histogram": histogram}


def _buckets() -> list[tuple[float, float]]:
    return list(zip((float("-inf"), *BOUNDS_MS), (*BOUNDS_MS, float("inf")), strict=True))
