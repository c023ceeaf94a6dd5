"""The measurements: each runs one system once and returns plain numbers."""

import time
from itertools import pairwise

from benchmarks.figures.numbers import percentile
from benchmarks.stage.stage import Stage, new_calls
from benchmarks.stage.systems import System

PER_SECOND = 50
CONCURRENCY = 8
WARM_COUNT = 100
WARMED_UP = 1 + WARM_COUNT
"""How many `warm_up` has carried out."""

BURST = 100


def measure_latency(stage: Stage, system: System, *, seconds: float, seed: int) -> dict:
    """At a steady 50/s with a 50 ms stub: times, processor time, memory, start-up, stalls."""
    stage.clear(delay_ms=50)
    with stage.producer(system) as producer:
        (first_submit_ms,) = _submit_ms(producer.ask({"do": "submit", "calls": new_calls(1)}))
        spawned_at = time.monotonic_ns()
        with stage.worker(system, concurrency=CONCURRENCY) as worker:
            stage.stub.wait_for(1, worker=worker)
            ready_at = _first(stage.stub.take())[0]
            pace(stage, producer, worker, WARM_COUNT, seed=seed)
            worker_before, redis_before = worker.cpu_seconds(), stage.redis_cpu_seconds()
            count = round(seconds * PER_SECOND)
            told, posts = pace(stage, producer, worker, count, seed=seed)
            time.sleep(0.3)  # what is done after the POST belongs to it
            worker_cpu = worker.cpu_seconds() - worker_before
            redis_cpu = stage.redis_cpu_seconds() - redis_before
            memory_mb = worker.memory_mb()
            to_post = [(posts[call][0] - times[0]) / 1e6 for call, times in told["times"].items()]
            submit = _submit_ms(told)
            build_and_submit = [(end - start) / 1e6 for start, _, end in told["times"].values()]
            stall_ms = _burst(stage, producer, worker)
            known = _follow(stage, producer, worker, seed=seed) if system.peer == "ours" else {}
        doubled = sum(len(seen) > 1 for seen in posts.values())
    return {
        "to_post_p50_ms": percentile(to_post, 50),
        "to_post_p99_ms": percentile(to_post, 99),
        "submit_p50_ms": percentile(submit, 50),
        "submit_p99_ms": percentile(submit, 99),
        "build_and_submit_p50_ms": percentile(build_and_submit, 50),
        "build_and_submit_p99_ms": percentile(build_and_submit, 99),
        "first_submit_ms": first_submit_ms,
        "burst_stall_ms": stall_ms,
        "producer_cpu_ms": told["cpu_ns"] / 1e6 / count,
        "worker_cpu_ms": worker_cpu * 1000 / count,
        "redis_cpu_ms": redis_cpu * 1000 / count,
        "worker_mb": memory_mb,
        "start_up_s": (ready_at - spawned_at) / 1e9,
        "doubled": doubled,
        **known,
    }


def _submit_ms(told: dict) -> list[float]:
    return [(end - called) / 1e6 for _, called, end in told["times"].values()]


def _first(values: dict) -> list[int]:
    return next(iter(values.values()))


def pace(stage: Stage, producer, worker, count: int, *, seed: int) -> tuple[dict, dict]:
    told = producer.ask({"do": "pace", "calls": new_calls(count), "per_second": PER_SECOND, "seed": seed})
    stage.stub.wait_for(count, worker=worker)
    return told, stage.stub.take()


def warm_up(stage: Stage, producer, worker) -> None:
    """Have a new worker carry out its first WARMED_UP transfers."""
    producer.ask({"do": "submit", "calls": new_calls(1)})
    stage.stub.wait_for(1, worker=worker)
    pace(stage, producer, worker, WARM_COUNT, seed=1)


def _burst(stage: Stage, producer, worker) -> float:
    """The longest stall of the event loop while 100 are submitted at once."""
    told = producer.ask({"do": "burst", "calls": new_calls(BURST)})
    stage.stub.wait_for(BURST, worker=worker)
    stage.stub.take()
    return told["stall_ns"] / 1e6


def _follow(stage: Stage, producer, worker, *, seed: int) -> dict:
    """How long until the session knows the outcome: from the submission, and from the platform's answer."""
    count = 2 * PER_SECOND
    told = producer.ask({"do": "follow", "calls": new_calls(count), "per_second": PER_SECOND, "seed": seed})
    stage.stub.wait_for(count, worker=worker)
    posts = stage.stub.take()
    known = [(at - told["times"][call][0]) / 1e6 for call, at in told["known"].items()]
    after_answer = [(at - posts[call][0]) / 1e6 - 50 for call, at in told["known"].items()]
    return {
        "known_p50_ms": percentile(known, 50),
        "known_p99_ms": percentile(known, 99),
        "known_after_answer_p50_ms": percentile(after_answer, 50),
        "known_after_answer_p99_ms": percentile(after_answer, 99),
    }


def measure_throughput(
    stage: Stage, system: System, *, concurrency: int, delay_ms: int, count: int, workers: int = 1
) -> dict:
    """Transfers that wait already, then the workers start: POSTs a second between the 10th and 90th percent.

    Also the worker's processor time for each, its start-up excluded.
    """
    stage.clear(delay_ms=delay_ms)
    with stage.producer(system) as producer:
        told = producer.ask({"do": "submit", "calls": new_calls(count)})
    submit = _submit_ms(told)
    started = []
    try:
        for _ in range(workers):
            opened = stage.worker(system, concurrency=concurrency)
            started.append((opened, opened.__enter__()))
        trees = [tree for _, tree in started]
        stage.stub.wait_for(max(1, count // 10), worker=trees[0])
        cpu_before = sum(tree.cpu_seconds() for tree in trees)
        redis_before = stage.redis_cpu_seconds()
        done_before = stage.stub.count()
        stage.stub.wait_for(count, worker=trees[0])
        cpu = sum(tree.cpu_seconds() for tree in trees) - cpu_before
        redis_cpu = stage.redis_cpu_seconds() - redis_before
    finally:
        for opened, _ in started:
            opened.__exit__(None, None, None)
    times = sorted(seen[0] for seen in stage.stub.take().values())
    low, high = len(times) // 10, len(times) * 9 // 10
    return {
        "per_second": (high - low) / ((times[high] - times[low]) / 1e9),
        "per_second_by_tenths": _rates(times, parts=10),
        "worker_cpu_ms": cpu * 1000 / max(1, count - done_before),
        "redis_cpu_ms": redis_cpu * 1000 / max(1, count - done_before),
        "submit_first_p50_ms": percentile(submit[: count // 10], 50),
        "submit_last_p50_ms": percentile(submit[-count // 10 :], 50),
    }


def _rates(times: list[int], *, parts: int) -> list[int]:
    """POSTs a second in each part of them: a rate that depends on how many still wait has a slope."""
    marks = [times[number * (len(times) - 1) // parts] for number in range(parts + 1)]
    return [round(len(times) / parts / ((end - start) / 1e9)) for start, end in pairwise(marks)]


def count_commands(stage: Stage, system: System, *, count: int = 100) -> dict:
    """Redis commands and round trips for each transfer, what an idle worker does taken off."""
    stage.clear(delay_ms=50)
    seconds = count / PER_SECOND
    with stage.producer(system) as producer, stage.worker(system, concurrency=CONCURRENCY) as worker:
        warm_up(stage, producer, worker)
        time.sleep(1)
        idle = _observe(stage, lambda: time.sleep(seconds))
        busy = _observe(stage, lambda: pace(stage, producer, worker, count, seed=1))
    names = sorted(set(busy["names"]) | set(idle["names"]))
    by_name = {name: (busy["names"].get(name, 0) - idle["names"].get(name, 0)) / count for name in names}
    return {
        "commands": (busy["commands"] - idle["commands"]) / count,
        "round_trips": (busy["round_trips"] - idle["round_trips"]) / count,
        "idle_round_trips_per_second": idle["reads"] / seconds,
        "by_name": {name: round(share, 2) for name, share in by_name.items() if abs(share) >= 0.1},
    }


def _observe(stage: Stage, action) -> dict:
    """Count what Redis carries out during `action`. A MULTI … EXEC is one round trip."""
    monitor = stage.monitor()
    try:
        commands_before, reads_before = _commands_carried_out(stage), _reads(stage)
        action()
        reads = _reads(stage) - reads_before - 1
        time.sleep(0.3)
        commands = _commands_carried_out(stage) - commands_before
        lines = [line for line in monitor.read_at_once() if line[1] != "INFO"]
    finally:
        monitor.close()
    round_trips, names, in_transaction = 0, {}, set()
    for source, name, _ in lines:
        if source == "lua":
            continue
        names[name] = names.get(name, 0) + 1
        if source in in_transaction:
            if name == "EXEC":
                in_transaction.discard(source)
            continue
        round_trips += 1
        if name == "MULTI":
            in_transaction.add(source)
    return {"commands": commands, "round_trips": round_trips, "reads": reads, "names": names}


def _reads(stage: Stage) -> int:
    """How often Redis has read from a socket: what is sent together is one round trip."""
    return stage.client.info("stats")["total_reads_processed"]


def _commands_carried_out(stage: Stage) -> int:
    """Every command, those inside Lua scripts included."""
    return sum(entry["calls"] for entry in stage.client.info("commandstats").values())
