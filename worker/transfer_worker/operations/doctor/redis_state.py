"""How Redis does now: how quick, how full, with which clock and disk."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

import redis

from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.runtime.findings import Finding
from transfer_worker.runtime.redis_checks import LOOK_IT_UP

if TYPE_CHECKING:
    from transfer_worker.monitoring.statistics import Status

SLOW_REDIS_MS: Final = 20.0
PINGS: Final = 5
CLOCK_SLACK_SECONDS: Final = 1.0
FULL_SHARE: Final = 0.9


def check_latency(client: redis.Redis) -> Finding:
    """Ask Redis a few times how quick it is."""
    times_ms = []
    try:
        for _ in range(PINGS):
            started = time.monotonic()
            client.ping()
            times_ms.append((time.monotonic() - started) * 1000)
    except redis.RedisError as error:
        return Finding.problem(
            "latency",
            seen=diagnose(error).seen,
            fix="Until it is fixed, no request is accepted or sent.",
        )
    typical_ms = median(times_ms)
    if typical_ms > SLOW_REDIS_MS:
        return Finding.warning(
            "latency",
            seen=f"Redis takes {typical_ms:.1f} ms",
            fix="Move Redis and the workers closer together: a transfer takes three round trips.",
        )
    return Finding.ok("latency", seen=f"Redis takes {typical_ms:.1f} ms")


def check_clocks(client: redis.Redis) -> Finding:
    """Redis's clock alone decides; people compare logs by ours."""
    before = time.time()
    seconds, microseconds = client.time()
    middle = (before + time.time()) / 2
    ahead_seconds = seconds + microseconds / 1_000_000 - middle
    if abs(ahead_seconds) > CLOCK_SLACK_SECONDS:
        side = "ahead of" if ahead_seconds > 0 else "behind"
        return Finding.warning(
            "clocks",
            seen=f"Redis's clock is {abs(ahead_seconds):.1f} s {side} ours",
            fix="Set both by NTP. Transfers don't suffer; but times in logs differ, and a producer that only "
            "has Celery writes `expires` by its machine's clock.",
        )
    return Finding.ok("clocks", seen=f"{abs(ahead_seconds) * 1000:.0f} ms apart")


def check_memory(status: Status) -> Finding:
    """Look at how full Redis is."""
    used, most = status.redis.used_memory_bytes, status.redis.max_memory_bytes
    if used is None:
        return Finding.not_checked("memory", seen="Redis does not say what it uses")
    seen = f"Redis uses {used / 2**20:.1f} MiB of {f'{most / 2**20:.1f} MiB' if most else 'the machine'}"
    if most and used >= most:
        return Finding.problem(
            "memory",
            seen=f"{seen}: it is full, and takes no request",
            fix=f"Raise maxmemory{LOOK_IT_UP}, or delete what is not ours; then all goes on by itself.",
        )
    if most and used >= FULL_SHARE * most:
        return Finding.warning(
            "memory",
            seen=seen,
            fix=f"Raise maxmemory{LOOK_IT_UP} before it is full: then no request is taken.",
        )
    return Finding.ok("memory", seen=seen)


def check_disk(client: redis.Redis) -> Finding:
    """Look at whether Redis can write to its disk."""
    try:
        info = client.info("persistence")
    except redis.RedisError as error:
        return Finding.not_checked("disk", seen=diagnose(error).seen)
    wrong = [
        name
        for name in ("aof_last_write_status", "rdb_last_bgsave_status")
        if str(info.get(name, "ok")) != "ok"
    ]
    if wrong:
        return Finding.problem(
            "disk",
            seen=f"Redis can't write: {', '.join(wrong)}",
            fix="Look at the disk of Redis: full or read-only? What is accepted now may be lost.",
        )
    return Finding.ok("disk", seen="Redis's last writes succeeded")
