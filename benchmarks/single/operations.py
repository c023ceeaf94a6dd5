"""What being on call costs: `status` and `show` beside 1,000 and 100,000 transfers that have ended.

Usage: python -m benchmarks.single.operations [ENDED ...]

Needs the embedded Redis. Prints medians and worst cases of the work alone (Redis asked, answer drawn), then
the wall time of the whole command in a process of its own, most of which is Python's start.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import time
import uuid

from rich.console import Console

from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.redis.connection import connect
from transfer_worker.cli import status_screen, tables
from transfer_worker.local.embedded_redis import EmbeddedRedis
from transfer_worker.operations import describe, lookup
from transfer_worker.operations.listing import Wanted, list_transfers
from transfer_worker.operations.status import read_overview

ROUNDS = 50
PROCESS_ROUNDS = 5
BATCH = 1000

# Writes what the transitions leave behind of transfers that were submitted within the last hour.
FILL = """
local first, last, ended, now_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for number = first, last do
  local id = string.format('00000000-0000-4000-8000-%012d', number)
  local call = string.format('00000000-0000-4000-9000-%012d', number)
  local at_ms = now_ms - math.floor(3600000 * (ended - number) / ended)
  local record = 'transfer:record:' .. id
  local slice = 'transfer:statistics:' .. string.format('%d', math.floor(at_ms / 10000))
  redis.call('HSET', record, 'call_id', call, 'key', call .. ':1', 'hop', 1, 'attempt', 1,
    'state', 'submitted', 'reason', 'accepted_by_platform', 'labels', '{"destination": "support"}',
    'intent', '{"requested_by": "bench", "reason": "a refund"}', 'source', 'worker', 'http_status', 200,
    'attempt:1', cjson.encode({ begun_ms = at_ms - 9, ended_ms = at_ms, attempt_ms = 9, http_status = 200,
      reason = 'accepted_by_platform', answer = '{"message": "queued"}' }),
    'accepted_ms', at_ms - 12, 'claimed_ms', at_ms - 10, 'expires_ms', at_ms + 15000, 'ended_ms', at_ms)
  redis.call('EXPIRE', record, 7200)
  redis.call('RPUSH', 'transfer:call:' .. call, id)
  redis.call('EXPIRE', 'transfer:call:' .. call, 7200)
  local hour = 'transfer:ended:submitted:' .. math.floor(at_ms / 3600000)
  redis.call('RPUSH', hour, id .. ' ' .. string.format('%d', at_ms) .. ' accepted_by_platform support')
  redis.call('EXPIRE', hour, 7200)
  for _, hash in ipairs({ 'transfer:statistics', slice }) do
    redis.call('HINCRBY', hash, 'ended|submitted|accepted_by_platform|support', 1)
    redis.call('HINCRBY', hash, 'attempt|accepted_by_platform', 1)
    redis.call('HINCRBY', hash, 'post_ms|5', 1)
    redis.call('EXPIRE', hash, 7200)
  end
end
"""


def measure(act):
    """Return the median and the worst of `ROUNDS`, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), max(times)


def measure_process(url, *words):
    """Return the median of the command's whole life, in milliseconds."""
    times = []
    for _ in range(PROCESS_ROUNDS):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "transfer_worker", *words],
            env={**os.environ, "TRANSFER_REDIS_URL": url},
            check=True,
            capture_output=True,
        )
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def bench(ended):
    with EmbeddedRedis() as server, connect(server.url, timeout_seconds=30) as client:
        ledger = Ledger(client, namespace="transfer", retention_seconds=7200)
        now_ms = lookup.read_clock_ms(ledger)
        for first in range(1, ended + 1, BATCH):
            client.eval(FILL, 0, first, min(first + BATCH - 1, ended), ended, now_ms)
        wanted = str(uuid.UUID(f"00000000-0000-4000-9000-{ended // 2:012}"))
        console = Console(file=io.StringIO(), width=160)

        def status():
            console.print(status_screen.draw_overview(read_overview(ledger)))

        def show():
            tables.print_story(console, describe.describe_story(lookup.read_story(ledger, wanted), ledger))

        def list_page():
            records = list_transfers(ledger, Wanted(), limit=100)
            console.print(status_screen.draw_listing(describe.describe_listing(records, ledger)))

        print(f"\n{ended:,} transfers ended within the last hour")
        print(f"  {'':<8}{'median':>12}{'worst':>12}{'process':>12}")
        for name, act, words in (
            ("status", status, ("status",)),
            ("show", show, ("show", wanted)),
            ("list", list_page, ("list",)),
        ):
            median_ms, worst_ms = measure(act)
            process_ms = measure_process(server.url, *words)
            print(f"  {name:<8}{median_ms:>9.1f} ms{worst_ms:>9.1f} ms{process_ms:>9.0f} ms")


if __name__ == "__main__":
    for wanted_count in [int(word) for word in sys.argv[1:]] or [1_000, 100_000]:
        bench(wanted_count)
