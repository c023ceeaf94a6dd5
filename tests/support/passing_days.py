"""A day passes in the ledger, in no time: what has ended has ended a day before, and the sweep finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.outcome import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from support.ledger_bench import LedgerBench

WEEK_SECONDS: Final = 7 * 24 * 3600
HOURS: Final = 26
"""How many pass: an hour's list is looked at when all of that hour is a day old."""

HOUR_MS: Final = 3_600_000
MS: Final = HOURS * HOUR_MS


def let_a_day_pass(bench: LedgerBench, *, of: Collection[str] = ("ended_ms",)) -> None:
    """Put the endings of all transfers back by a day and two hours, in their records and in the lists.

    Reports of which nobody knew whose they are have not been kept for that long.

    Args:
        bench: Where.
        of: The fields of an ended record that are put back.
    """
    client, now_hour = bench.client, now_ms(bench) // HOUR_MS
    for name in list(client.scan_iter(bench.keys.unmatched("*"), count=1000)):
        client.delete(name)
    for name in list(client.scan_iter(bench.keys.record("*"), count=1000)):
        fields: Any = client.hgetall(name)
        if State(fields["state"]).is_open:
            continue
        for field in set(of) & fields.keys():
            if fields[field] not in {"", "0"}:
                client.hincrby(name, field, -MS)
    for name in sorted(client.scan_iter(f"{bench.keys.namespace}:ended:*", count=1000)):  # the oldest first
        _, state, hour = name.rsplit(":", 2)
        lines: Any = client.lrange(name, 0, -1)
        earlier = bench.keys.ended(state, int(hour) - HOURS)
        with client.pipeline() as pipe:
            pipe.delete(name)
            pipe.rpush(earlier, *(_put_back(line) for line in lines))
            pipe.expire(earlier, WEEK_SECONDS)
            pipe.execute()
    point_at(bench, now_hour - HOURS - 1)


def point_at(bench: LedgerBench, hour: int, state: int = 1, index: int = 0) -> None:
    """Have the sweep go on here."""
    client, sweep = bench.client, bench.keys.sweep
    client.hset(sweep, "compacted", f"{hour}:{state}:{index}")
    client.expire(sweep, 1000)


def read_pointer(bench: LedgerBench) -> tuple[int, int, int] | None:
    """Return the hour, the state and the index at which the sweep goes on; None where it has yet to begin."""
    said: Any = bench.client.hget(bench.keys.sweep, "compacted")
    match str(said).split(":"):
        case [hour, state, index]:
            return int(hour), int(state), int(index)
        case _:
            return None


def compact_everything(bench: LedgerBench) -> int:
    """Sweep until no ending is left that is a day old; return how many sweeps that took."""
    for number in range(1, 10_000):
        before = read_pointer(bench)
        bench.recover()
        if read_pointer(bench) == before:
            return number - 1
    raise AssertionError("the sweep comes to no end")


def now_ms(bench: LedgerBench) -> int:
    """Return Redis's time."""
    seconds, microseconds = bench.client.time()
    return seconds * 1000 + microseconds // 1000


def _put_back(line: str) -> str:
    transfer_id, ended_ms, *others = line.split(" ")
    return " ".join([transfer_id, str(int(ended_ms) - MS), *others])
