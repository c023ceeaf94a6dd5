"""What a transfer costs inside Redis: by script and by command, and what it leaves behind."""

import time
from collections.abc import Callable

from benchmarks.figures.attribution import attribute, name_of
from benchmarks.figures.numbers import percentile
from benchmarks.parts.scenes import CONCURRENCY, PER_SECOND, pace, warm_up
from benchmarks.stage.processes import ProcessTree, Talker
from benchmarks.stage.stage import PATIENCE_SECONDS, Stage, new_calls
from benchmarks.stage.systems import System, find_systems
from transfer_tasks.ledger.keys import Keys

COUNT = 200
FOOTPRINT_COUNT = 1000
AGE_HOURS = 26
"""An hour's endings are looked at when all of that hour is a day old."""


def measure_scripts(stage: Stage) -> dict:
    """At a steady 50/s, what an idle worker does taken off.

    Counted and timed one after the other: MONITOR makes everything slower.
    """
    (ours,) = find_systems("call-transfer")
    stage.clear(delay_ms=50)
    seconds = COUNT / PER_SECOND
    with stage.producer(ours) as producer, stage.worker(ours, concurrency=CONCURRENCY) as worker:
        warm_up(stage, producer, worker)

        def work() -> None:
            pace(stage, producer, worker, COUNT, seed=1)

        def rest() -> None:
            time.sleep(seconds)

        idle, busy = _count(stage, rest), _count(stage, work)
        idle_times, idle_stats = _time(stage, rest)
        times, stats = _time(stage, work)
    return {
        "scripts": {
            name: {
                "calls": (len(busy[name]) - len(idle.get(name, ()))) / COUNT,
                "in_lua": (sum(busy[name]) - sum(idle.get(name, ()))) / COUNT,
                "us_p50": percentile(times[name], 50) if times.get(name) else 0.0,
                "us": (sum(times.get(name, ())) - sum(idle_times.get(name, ()))) / COUNT,
            }
            for name in busy
        },
        "commands": {
            name: {
                "calls": (of[0] - idle_stats.get(name, (0, 0))[0]) / COUNT,
                "us": (of[1] - idle_stats.get(name, (0, 0))[1]) / COUNT,
            }
            for name, of in stats.items()
        },
        "in_lua": sum(sum(busy[name]) - sum(idle.get(name, ())) for name in busy) / COUNT,
        "footprint": measure_footprint(stage, ours, is_aged=True),
    }


def _count(stage: Stage, act: Callable[[], None]) -> dict[str, list[int]]:
    """Return the commands in Lua of each call, by name."""
    monitor = stage.monitor()
    try:
        act()
        time.sleep(0.3)
        asked = attribute(line for line in monitor.read_at_once() if line[1] != "INFO")
    finally:
        monitor.close()
    by_name: dict[str, list[int]] = {}
    for each in asked:
        by_name.setdefault(each.name, []).append(each.in_lua)
    return by_name


def _time(stage: Stage, act: Callable[[], None]) -> tuple[dict, dict]:
    """Return microseconds of each call, by name; and (calls, microseconds) of each command, in Lua too."""
    client = stage.client
    client.config_set("slowlog-max-len", 100_000)
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    client.config_resetstat()
    try:
        act()
        time.sleep(0.3)
        stats = client.info("commandstats")
        entries = client.slowlog_get(100_000)
    finally:
        client.config_set("slowlog-log-slower-than", 10_000)
    times: dict[str, list[int]] = {}
    for entry in entries:
        command, argument, *_ = [*entry["command"].decode("utf-8", "replace").split(" ", 2), ""]
        times.setdefault(name_of(command.upper(), argument), []).append(entry["duration"])
    by_command = {name.removeprefix("cmdstat_"): (of["calls"], of["usec"]) for name, of in stats.items()}
    return times, by_command


def measure_footprint(stage: Stage, system: System, *, is_aged: bool = False) -> dict:
    """What each of many ended transfers leaves: bytes in memory, the audit stream's apart; and in the AOF.

    Args:
        is_aged: Whether the same is wanted for when a day has passed, of a revision whose sweeps compact.
    """
    stage.clear(delay_ms=0)
    stage.client.config_set("auto-aof-rewrite-percentage", 0)
    with stage.producer(system) as producer, stage.worker(system, concurrency=CONCURRENCY) as worker:
        _carry_out(stage, producer, worker, FOOTPRINT_COUNT // 4)
        before = _weigh(stage)
        time.sleep(2)
        idle_aof = (_weigh(stage)[1] - before[1]) / 2
        begun = time.monotonic()
        before = _weigh(stage)
        _carry_out(stage, producer, worker, FOOTPRINT_COUNT)
        after, seconds = _weigh(stage), time.monotonic() - begun
        found = {
            "record_bytes": (after[0] - before[0]) / FOOTPRINT_COUNT,
            "aof_bytes": (after[1] - before[1] - idle_aof * seconds) / FOOTPRINT_COUNT,
        }
        if is_aged:
            count = let_a_day_pass(stage)
            others = found["record_bytes"] * (count - FOOTPRINT_COUNT)
            found["old_record_bytes"] = (_weigh(stage)[0] - before[0] + others) / count
    return found


def let_a_day_pass(stage: Stage) -> int:
    """Put all endings back by more than a day; return how many, when the worker's sweeps have seen them."""
    client, keys = stage.client, Keys()
    records = list(client.scan_iter(match=keys.record("*"), count=1000))
    with client.pipeline(transaction=False) as pipe:
        for name in records:
            pipe.hincrby(name, "ended_ms", -AGE_HOURS * 3_600_000)
        for name in list(client.scan_iter(match=keys.ended("*", 0)[:-1] + "*", count=1000)):
            before, _, hour = name.decode().rpartition(":")
            pipe.rename(name, f"{before}:{int(hour) - AGE_HOURS}")
        pipe.hdel(keys.sweep, "compacted")  # so that the sweeps begin anew
        pipe.execute()
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not all(_are_compacted(stage, records)):
        if time.monotonic() > give_up_at:
            raise TimeoutError("the sweeps have not seen all endings of a day ago")
        time.sleep(0.5)
    return len(records)


def _are_compacted(stage: Stage, records: list[bytes]) -> list[bool]:
    with stage.client.pipeline(transaction=False) as pipe:
        for name in records:
            pipe.hexists(name, "compacted")
        return pipe.execute()


def _carry_out(stage: Stage, producer: Talker, worker: ProcessTree, count: int) -> None:
    producer.ask({"do": "submit", "calls": new_calls(count)})
    stage.stub.wait_for(count, worker=worker)
    stage.stub.take()
    time.sleep(3)  # the last ones end, and their audit lines are written


def _weigh(stage: Stage) -> tuple[int, int]:
    client = stage.client
    used = client.info("memory")["used_memory"] - (client.memory_usage(Keys().audit, samples=0) or 0)
    return used, client.info("persistence")["aof_current_size"]
