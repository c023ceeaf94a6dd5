"""How long Redis keeps what: nothing that people have said outlives the time that the settings say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.ledger_bench import LedgerBench, finish
from transfer_worker.audit.outbox import GROUP

OLD_MS = 1001 * 1000
"""Longer than the bench keeps anything."""


def now_ms(bench: LedgerBench) -> int:
    seconds, _ = bench.client.time()
    return int(seconds) * 1000


def add_line(bench: LedgerBench, *, age_ms: int) -> str:
    return str(bench.client.xadd(bench.keys.audit, {"event": "x"}, id=f"{now_ms(bench) - age_ms}-7"))


def read_lines(bench: LedgerBench) -> list[str]:
    bench.client.xgroup_create(bench.keys.audit, GROUP, id="0", mkstream=True)
    reply: Any = bench.client.xreadgroup(GROUP, "w1", {bench.keys.audit: ">"})
    return [event_id for event_id, _ in reply[0][1]]


def lines(bench: LedgerBench) -> list[str]:
    entries: Any = bench.client.xrange(bench.keys.audit)
    return [event_id for event_id, _ in entries]


def test_written_lines_go_with_age_on_a_quiet_system_however_few_they_are(bench):
    old, young = add_line(bench, age_ms=OLD_MS), add_line(bench, age_ms=0)
    bench.client.expire(bench.keys.audit, 1000)
    bench.client.xack(bench.keys.audit, GROUP, *read_lines(bench))

    bench.recover()

    assert old not in lines(bench)
    assert young in lines(bench)


def test_the_last_line_goes_too(bench):
    add_line(bench, age_ms=OLD_MS)
    bench.client.expire(bench.keys.audit, 1000)
    bench.client.xack(bench.keys.audit, GROUP, *read_lines(bench))

    bench.recover()

    assert lines(bench) == []


@pytest.mark.parametrize("is_read", [True, False])
def test_what_nobody_has_written_stays_whatever_its_age(bench, is_read):
    written, held = add_line(bench, age_ms=2 * OLD_MS), add_line(bench, age_ms=OLD_MS)
    bench.client.expire(bench.keys.audit, 1000)
    if is_read:
        bench.client.xack(bench.keys.audit, GROUP, read_lines(bench)[0])
    else:
        bench.client.xgroup_create(bench.keys.audit, GROUP, id=written)

    assert bench.recover().lost_lines == 0

    assert lines(bench) == [held]


def test_a_short_time_for_records_loses_no_line_that_is_not_written_yet(bench):
    bench.accept()
    assert bench.client.ttl(bench.keys.audit) == 24 * 3600


def set_aside(bench: LedgerBench, name: str) -> None:
    bench.run(
        bench.commands.quarantine(
            transfer_id="", why="not JSON", element=name, size_bytes=1, max_entries=1000
        )
    )


def age(bench: LedgerBench, at: int) -> None:
    entry = json.loads(bench.client.lindex(bench.keys.quarantine, at))
    bench.client.lset(bench.keys.quarantine, at, json.dumps({**entry, "at_ms": now_ms(bench) - OLD_MS}))


def in_quarantine(bench: LedgerBench) -> list[str]:
    entries: Any = bench.client.lrange(bench.keys.quarantine, 0, -1)
    return [json.loads(entry)["element"] if entry.startswith("{") else entry for entry in entries]


def test_dead_letters_go_with_age_though_new_ones_come(bench):
    for name in ("first", "second", "third", "fourth"):
        set_aside(bench, name)
    age(bench, -1)
    age(bench, -2)

    bench.recover()

    assert in_quarantine(bench) == ["fourth", "third"]


def test_one_without_a_time_goes_with_the_next_that_is_old(bench):
    set_aside(bench, "young")
    bench.client.rpush(bench.keys.quarantine, "junk")
    bench.recover()
    assert in_quarantine(bench) == ["young", "junk"]
    age(bench, -2)
    bench.recover()
    assert in_quarantine(bench) == []


def test_what_a_transfer_leaves_is_gone_in_time(bench):
    transfer_id = finish(bench, key="order-7")
    record = bench.record(transfer_id)
    for key in (
        bench.keys.record(transfer_id),
        bench.keys.call(record.call_id),
        bench.keys.idempotency("order-7"),
    ):
        assert 0 < bench.client.ttl(key) <= 1000, key


def test_a_record_has_no_copy_of_its_message(bench):
    transfer_id = bench.accept().transfer_id
    message = bench.client.lindex(bench.queue, 0)
    assert message not in bench.client.hgetall(bench.keys.record(transfer_id)).values()


def test_a_message_stays_on_the_queue_until_a_worker_takes_it(bench):
    bench.accept()
    assert bench.client.ttl(bench.queue) == -1


def test_who_asks_most_is_known_for_two_hours(bench):
    bench.accept(asked_by="agent billing-bot")
    named = [
        key
        for key in bench.client.scan_iter("transfer:statistics*", _type="hash")
        if any("billing-bot" in field for field in bench.client.hkeys(key))
    ]
    assert named
    assert "billing-bot" not in str(bench.client.lrange(bench.keys.uncounted, 0, -1))
    assert all(0 < bench.client.ttl(key) <= 2 * 3600 for key in named)


def test_a_damaged_record_that_is_set_aside_has_the_same_time(bench):
    transfer_id = bench.accept().transfer_id
    bench.client.hdel(bench.keys.record(transfer_id), "expires_ms")
    bench.claim(transfer_id)
    assert 0 < bench.client.ttl(bench.keys.damaged(transfer_id)) <= 1000


def test_what_is_gone_suppresses_no_repeat(bench):
    first = bench.accept(call_id="5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8")
    bench.cancel(first.transfer_id)
    bench.client.delete(
        bench.keys.record(first.transfer_id), bench.keys.call("5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8")
    )
    again = bench.accept(call_id="5c1f6a3e-8d20-4b7e-9a51-0e64b7d2c9f8", transfer_id=first.transfer_id)
    assert again.verdict == "accepted"
