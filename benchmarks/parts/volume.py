"""What a full Redis costs: waiting intents, and records of transfers that have ended."""

import os
import shutil
import subprocess
import time
from statistics import median

import psutil

from benchmarks.parts.copies import Original, find_original, make_copies
from benchmarks.parts.run import Tell
from benchmarks.parts.scenes import CONCURRENCY, PER_SECOND, measure_latency, measure_throughput
from benchmarks.stage.leftovers import names_of
from benchmarks.stage.room import check_room
from benchmarks.stage.stage import Stage, new_calls
from benchmarks.stage.systems import BIN, System, find_systems

BACKLOG = 10_000
SMALL_BACKLOG = 1_000

_ALIKE = 20
"""So many are carried out before one is copied: what comes with each of them is told from what comes once."""

_SETTLE_SECONDS = 60.0
_RESTING_MS = 5.0
"""Of processor time in a second, at most."""

_LOOKS = 5
_IDLE_SECONDS = 2.0


def measure_backlog(stage: Stage, *, rounds: int) -> dict:
    """Throughput and the submit call with 1,000 and with 10,000 intents waiting."""
    system = find_systems("call-transfer")[0]
    results: dict[str, list[dict]] = {str(SMALL_BACKLOG): [], str(BACKLOG): []}
    for _ in range(rounds):
        for size in (SMALL_BACKLOG, BACKLOG):
            results[str(size)].append(
                measure_throughput(stage, system, concurrency=32, delay_ms=0, count=size)
            )
    return results


def measure_ended(stage: Stage, into: dict, tell: Tell, *, rounds: int, seconds: float, count: int) -> None:
    """An empty Redis and one that holds `count` ended transfers, in turns: the latency scene, and `status`.

    The full one never rewrites its append-only file, which would be gigabytes beside the measurement.

    Raises:
        NoRoom: The machine has not got the memory, or the disk.
    """
    (ours,) = find_systems("call-transfer")
    stage.clear(delay_ms=50)
    with Stage() as full:
        full.client.config_set("auto-aof-rewrite-percentage", 0)
        original = _leave_one(full, ours)
        check_room(
            count=count,
            size_bytes=original.size_bytes,
            free_memory_bytes=psutil.virtual_memory().available,
            free_disk_bytes=shutil.disk_usage(full.redis.data_dir).free,
        )
        before = full.client.info("memory")["used_memory"]
        tell(f"ended: one holds {original.size_bytes} bytes in its keys; making {count:,}", 0.05)
        make_copies(full.client, original, count)
        _settle(full)
        after = full.client.info("memory")["used_memory"]
        into |= {
            "count": count,
            "empty_bytes": before,
            "full_bytes": after,
            "bytes_each": (after - before) / count,
            "own_keys_bytes": original.size_bytes,
            "keys": full.client.dbsize(),
            "left_out": original.left_out,
        }
        full.is_kept = True
        _take_turns({"empty": stage, "full": full}, ours, into, tell, rounds=rounds, seconds=seconds)


def _settle(stage: Stage) -> None:
    """Return once Redis rests: gigabytes of AOF are on the disk, and its tables have their new sizes."""
    os.sync()
    give_up_at = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < give_up_at:
        before = _redis_ms(stage)
        time.sleep(1)
        if _redis_ms(stage) - before < _RESTING_MS:
            return


def _take_turns(
    stages: dict[str, Stage], ours: System, into: dict, tell: Tell, *, rounds: int, seconds: float
) -> None:
    into |= {name: [] for name in stages}
    for number in range(rounds):
        for name, on in stages.items() if number % 2 == 0 else reversed(stages.items()):
            measured = measure_latency(on, ours, seconds=seconds, seed=number)
            into[name].append({**measured, **_measure_status(on, ours), "round": number})
        tell(f"ended: round {number + 1} of {rounds}", 0.2 + 0.8 * (number + 1) / rounds)


def _leave_one(stage: Stage, ours: System) -> Original:
    """Carry out a few, and find what the last one has left."""
    before = set(names_of(stage.client))
    stage.clear(delay_ms=0)
    calls = new_calls(_ALIKE)
    with stage.producer(ours) as producer, stage.worker(ours, concurrency=CONCURRENCY):
        told = producer.ask({"do": "follow", "calls": calls, "per_second": PER_SECOND, "seed": 1})
        time.sleep(2)  # audit lines are written, heartbeats count
        return find_original(stage.client, (told["ids"][calls[-1]], calls[-1]), before=before, alike=_ALIKE)


def _measure_status(stage: Stage, ours: System) -> dict:
    """`call-transfer status`: its wall time, and Redis's processor time without an idle worker's share."""
    env = os.environ | stage.environment(concurrency=CONCURRENCY)
    walls = []
    stage.reset_stub(delay_ms=0)
    with stage.producer(ours) as producer, stage.worker(ours, concurrency=CONCURRENCY) as worker:
        producer.ask({"do": "submit", "calls": new_calls(1)})
        stage.stub.wait_for(1, worker=worker)
        time.sleep(1)
        idle_before = _redis_ms(stage)
        time.sleep(_IDLE_SECONDS)
        before = _redis_ms(stage)
        idle_ms_per_second = (before - idle_before) / _IDLE_SECONDS
        for _ in range(_LOOKS):
            begun = time.monotonic()
            subprocess.run(
                [str(BIN / "call-transfer"), "status"],
                env=env,
                cwd=stage.directory,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            walls.append((time.monotonic() - begun) * 1000)
        redis_ms = _redis_ms(stage) - before - idle_ms_per_second * sum(walls) / 1000
    return {"status_ms": median(walls), "status_redis_ms": max(0.0, redis_ms) / _LOOKS}


def _redis_ms(stage: Stage) -> float:
    """Redis's processor time, in finer steps than the kernel's ticks."""
    used = stage.client.info("cpu")
    return (used["used_cpu_user"] + used["used_cpu_sys"]) * 1000
