"""The sweep compacts a bounded part of what is a day old, and goes on where it was."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from support.ledger_bench import LedgerBench, finish
from support.passing_days import (
    HOURS,
    WEEK_SECONDS,
    compact_everything,
    let_a_day_pass,
    now_ms,
    point_at,
    read_pointer,
)
from support.role_users import open_bench

RECORDS = 100
"""How many one sweep looks at."""


@pytest.fixture
def bench(redis_url):
    with open_bench(redis_url, retention_seconds=WEEK_SECONDS) as bench:
        yield bench


def is_compacted(bench: LedgerBench, transfer_id: str) -> bool:
    return bench.record(transfer_id).is_compacted


def multiply(bench: LedgerBench, transfer_id: str, count: int) -> list[str]:
    """Return transfers that have ended as this one has, in the same hour."""
    ended_ms = bench.record(transfer_id).ended_at_ms
    ids = [str(uuid.uuid4()) for _ in range(count)]
    with bench.client.pipeline(transaction=False) as pipe:
        for copy in ids:
            pipe.copy(bench.keys.record(transfer_id), bench.keys.record(copy))
            pipe.rpush(
                bench.keys.ended("submitted", ended_ms // 3_600_000), f"{copy} {ended_ms} reason support"
            )
        pipe.execute()
    return ids


def test_a_sweep_looks_at_a_hundred_and_the_next_one_goes_on(bench):
    first = finish(bench)
    let_a_day_pass(bench)
    ids = [first, *multiply(bench, first, 2 * RECORDS + 49)]
    done = []
    for _ in range(4):
        bench.recover()
        done.append(sum(is_compacted(bench, each) for each in ids))
    assert done == [RECORDS, 2 * RECORDS, 250, 250]
    assert all(is_compacted(bench, each) for each in ids[: 2 * RECORDS])


def test_those_that_are_gone_count_as_well(bench):
    first = finish(bench)
    let_a_day_pass(bench)
    ids = multiply(bench, first, 2 * RECORDS)
    bench.client.delete(*(bench.keys.record(each) for each in ids[: RECORDS - 1]))
    bench.recover()
    assert is_compacted(bench, first)
    assert sum(is_compacted(bench, each) for each in ids[RECORDS - 1 :]) == 0


def test_a_first_sweep_begins_where_the_oldest_list_may_be_and_comes_to_an_end(bench):
    transfer_id = finish(bench)
    let_a_day_pass(bench)
    bench.client.hdel(bench.keys.sweep, "compacted")
    hour_now = now_ms(bench) // 3_600_000
    bench.recover()
    hour, _, _ = read_pointer(bench) or (0, 0, 0)
    assert hour_now - 7 * 24 - 2 < hour < hour_now - 6 * 24, "a bounded part of the week"
    assert compact_everything(bench) < 20
    assert is_compacted(bench, transfer_id)


@pytest.mark.parametrize("junk", ["", "x", "1:9:0", "5:1", "99999999999999999999:1:0"])
def test_a_pointer_that_is_none_is_replaced(bench, junk):
    transfer_id = finish(bench)
    let_a_day_pass(bench)
    bench.client.hset(bench.keys.sweep, "compacted", junk)
    compact_everything(bench)
    assert is_compacted(bench, transfer_id) == (junk != "99999999999999999999:1:0")
    assert (read_pointer(bench) or (0,))[0] == (now_ms(bench) - 24 * 3_600_000) // 3_600_000


def test_a_clock_that_was_set_back_is_followed(bench):
    hour_now = now_ms(bench) // 3_600_000
    point_at(bench, hour_now + 1000, 3, 7)  # where the sweep was by a clock that ran ahead
    bench.recover()
    assert (read_pointer(bench) or (0,))[0] == (now_ms(bench) - 24 * 3_600_000) // 3_600_000
    transfer_id = finish(bench)
    let_a_day_pass(bench)
    compact_everything(bench)
    assert is_compacted(bench, transfer_id)


def test_a_sweep_that_has_nothing_to_do_writes_nothing(bench):
    transfer_id = finish(bench)
    let_a_day_pass(bench)
    compact_everything(bench)
    key = bench.keys.record(transfer_id)
    before = bench.client.hgetall(key), read_pointer(bench)
    point_at(bench, now_ms(bench) // 3_600_000 - HOURS - 1)
    with bench.client.monitor() as monitor:
        compact_everything(bench)
        bench.client.echo("end")
        seen: list[str] = []
        while "ECHO" not in (command := monitor.next_command()["command"]):
            seen.append(command)
    assert (bench.client.hgetall(key), read_pointer(bench)) == before
    of_record = {command.split()[0] for command in seen if key in command}
    assert of_record == {"TYPE", "HMGET", "HKEYS"}


def test_where_it_may_not_read_the_lists_the_sweep_goes_on_without(redis_url):
    with open_bench(redis_url, retention_seconds=WEEK_SECONDS) as bench:
        if type(bench) is LedgerBench:
            pytest.skip("Redis 6.2 has one permission for a key")
        waiting = bench.accept(remaining_ms=1).transfer_id
        transfer_id = finish(bench)
        let_a_day_pass(bench)
        rules: Any = bench.client.acl_getuser("worker")
        keys = " ".join(rules["keys"]).replace("~transfer:ended:*:*", "%W~transfer:ended:*:*")
        bench.client.execute_command("ACL", "SETUSER", "worker", "resetkeys", *keys.split())
        while now_ms(bench) < bench.record(waiting).expires_at_ms:
            pass
        assert bench.recover().expired == 1
        assert not is_compacted(bench, transfer_id)
        bench.client.execute_command("ACL", "SETUSER", "worker", "~transfer:ended:*:*")
        compact_everything(bench)
        assert is_compacted(bench, transfer_id)
        bench.client.execute_command("ACL", "LOG", "RESET")
