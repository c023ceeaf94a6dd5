"""What a full Redis costs: waiting intents, and records of transfers that have ended."""

import os
import uuid

from benchmarks.scenes import measure_latency, measure_throughput
from benchmarks.stage import Stage
from benchmarks.systems import find_systems
from transfer_tasks.ledger.keys import Keys

BACKLOG = 10_000
SMALL_BACKLOG = 1_000

# Copies one ended transfer, with its call, as often as asked.
_MULTIPLY = """
local fields = redis.call('HGETALL', KEYS[1])
for number = ARGV[1], ARGV[2] do
  local id = string.format('%s-%012d', ARGV[3], number)
  redis.call('HSET', ARGV[4] .. id, unpack(fields))
  redis.call('EXPIRE', ARGV[4] .. id, 604800)
  redis.call('RPUSH', ARGV[5] .. id, id)
  redis.call('EXPIRE', ARGV[5] .. id, 604800)
end
return redis.call('DBSIZE')
"""
_AT_ONCE = 2000


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


def measure_ended(stage: Stage, *, rounds: int, seconds: float, count: int) -> dict:
    """The latency scene on an empty Redis and on one that holds `count` ended transfers, in turns."""
    system = find_systems("call-transfer")[0]
    results: dict[str, list[dict]] = {"empty": [], "full": []}
    stage.client.config_set("auto-aof-rewrite-percentage", 0)
    for number in range(rounds):
        results["empty"].append(
            _without_samples(measure_latency(stage, system, seconds=seconds, seed=number))
        )
    template = _find_ended(stage)
    memory_before = stage.client.info("memory")["used_memory"]
    _multiply(stage, template, count)
    bytes_each = (stage.client.info("memory")["used_memory"] - memory_before) / count
    clear, stage.clear = stage.clear, stage.reset_stub
    try:
        for number in range(rounds):
            measured = measure_latency(stage, system, seconds=seconds, seed=number)
            results["full"].append(_without_samples(measured))
    finally:
        stage.clear = clear
    stage.client.flushall(asynchronous=True)  # so much takes longer than a client waits
    return {**results, "count": count, "bytes_each": bytes_each}


def _without_samples(measured: dict) -> dict:
    return {name: value for name, value in measured.items() if name != "to_post_ms"}


def _find_ended(stage: Stage) -> bytes:
    for name in stage.client.scan_iter(match=Keys().record("*"), count=1000):
        if stage.client.hget(name, "state") == b"submitted":
            return name
    raise RuntimeError("no ended transfer to copy")


def _multiply(stage: Stage, template: bytes, count: int) -> None:
    script, keys = stage.client.register_script(_MULTIPLY), Keys()
    prefix = str(uuid.uuid4())[:23]
    for first in range(1, count + 1, _AT_ONCE):
        last = min(count, first + _AT_ONCE - 1)
        script(keys=[template], args=[first, last, prefix, keys.record(""), keys.call("")])
    os.sync()  # gigabytes of AOF are on their way to the disk
