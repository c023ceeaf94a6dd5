"""Which transfers there are: by state, reason and destination, over pages, at any number."""

from __future__ import annotations

import pytest

from support.ledger_bench import finish, start
from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.statistics import read_status
from transfer_worker.operations.listing import PAGE, Wanted, list_transfers

pytestmark = pytest.mark.usefixtures("no_key_leaks")


def ids(records):
    return [record.transfer_id for record in records]


def listed(bench, *, limit=100, states=(), **wanted):
    return list_transfers(bench.ledger, Wanted(states=frozenset(states), **wanted), limit=limit)


def test_ended_transfers_are_found_by_state_reason_and_destination_the_newest_first(bench):
    first = finish(bench, state=State.FAILED, reason=Reason.RATE_LIMITED)
    finish(bench)
    other = finish(bench, state=State.FAILED, reason=Reason.NOT_SENT, destination="billing")
    last = finish(bench, state=State.FAILED, reason=Reason.RATE_LIMITED)

    assert ids(listed(bench, states=[State.FAILED])) == [last, other, first]
    assert ids(listed(bench, states=[State.FAILED], limit=1)) == [last]
    assert ids(listed(bench, reason=Reason.RATE_LIMITED)) == [last, first]
    assert ids(listed(bench, destination="billing")) == [other]
    assert listed(bench, states=[State.UNKNOWN]) == []


def test_open_transfers_are_listed_first_and_by_their_states(bench):
    done = finish(bench)
    sending = start(bench).transfer_id
    claimed = bench.claim(bench.accept(destination="billing").transfer_id).transfer_id
    waiting = bench.accept().transfer_id

    assert set(ids(listed(bench))[1:3]) == {claimed, sending}
    assert ids(listed(bench))[::3] == [waiting, done]
    assert ids(listed(bench, states=[State.WAITING])) == [waiting]
    assert ids(listed(bench, states=[State.SENDING])) == [sending]
    assert ids(listed(bench, destination="billing")) == [claimed]
    assert ids(listed(bench, limit=1)) == [waiting]


def test_of_the_open_ones_the_oldest_comes_first_and_is_not_cut_off(bench):
    oldest, older, newest = (bench.accept(queue="").transfer_id for _ in range(3))
    for at, transfer_id in enumerate((oldest, older, newest)):
        bench.client.zadd(bench.keys.open_ids, {transfer_id: 1_000 + at})

    assert ids(listed(bench)) == [oldest, older, newest]
    assert ids(listed(bench, states=[State.WAITING], limit=1)) == [oldest]


def test_who_asked_is_found_by_name_masked_or_not_and_by_key(bench):
    bench.accept(asked_by="agent sales-bot")
    billing = bench.accept(asked_by="agent +1 202-555-0143").transfer_id
    done = finish(bench, asked_by="agent +1 202-555-0143")
    signed = bench.accept(signature="desk:aa").transfer_id

    assert ids(listed(bench, requester="agent +1 202-555-0143")) == [billing, done]
    assert ids(listed(bench, requester="agent +1*******43", limit=1)) == [billing]
    assert ids(listed(bench, requester="desk")) == [signed]
    assert listed(bench, requester="nobody") == []


def test_a_transfer_that_was_resolved_is_listed_once_as_what_it_is_now(bench):
    claim = start(bench)
    bench.lose_answer(claim)
    bench.resolve(claim.transfer_id, transferred=True)

    assert ids(listed(bench)) == [claim.transfer_id]
    assert listed(bench, states=[State.UNKNOWN]) == []


def test_what_ended_earlier_is_left_out_also_in_another_hour(bench):
    now_ms = bench.client.time()[0] * 1000
    old = finish(bench)
    hours_ago = now_ms - 3 * 3_600_000
    bench.client.hset(bench.keys.record(old), "ended_ms", hours_ago)
    bench.client.delete(bench.keys.ended("submitted", now_ms // 3_600_000))
    key = bench.keys.ended("submitted", hours_ago // 3_600_000)
    bench.client.rpush(key, f"{old} {hours_ago} accepted_by_platform support")
    bench.client.expire(key, 1000)

    assert listed(bench, since_seconds=2 * 3600) == []
    assert listed(bench, since_seconds=3 * 3600 - 60) == []
    assert ids(listed(bench, since_seconds=3 * 3600 + 60)) == [old]


FILL = """
local at_ms, hour = tonumber(ARGV[2]), ARGV[3]
for number = 1, tonumber(ARGV[1]) do
  local id = 'ended-' .. number
  redis.call('HSET', 'transfer:record:' .. id, 'call_id', id, 'key', id, 'hop', '1', 'attempt', '1',
    'state', 'submitted', 'reason', 'accepted_by_platform', 'labels', '{"destination": "support"}',
    'accepted_ms', at_ms, 'expires_ms', at_ms, 'ended_ms', at_ms)
  redis.call('EXPIRE', 'transfer:record:' .. id, 1000)
  redis.call('RPUSH', 'transfer:ended:submitted:' .. hour,
    id .. ' ' .. at_ms .. ' accepted_by_platform support')
end
redis.call('EXPIRE', 'transfer:ended:submitted:' .. hour, 1000)
"""


def commands_of(bench, act):
    """Return how many commands Redis served for it."""
    bench.client.config_resetstat()
    act()
    stats = bench.client.info("commandstats")
    return sum(entry["calls"] for name, entry in stats.items() if name != "cmdstat_config|resetstat")


def test_a_hundred_thousand_ended_transfers_cost_the_operator_nothing(bench):
    finish(bench, state=State.FAILED, reason=Reason.RATE_LIMITED)

    def look():
        assert read_status(bench.ledger).windows[0].outcomes[State.FAILED] == 1
        assert len(listed(bench, states=[State.FAILED])) == 1
        assert len(listed(bench, limit=20)) >= 1

    few = commands_of(bench, look)
    now_ms = bench.client.time()[0] * 1000
    bench.client.eval(FILL, 0, 100_000, now_ms, now_ms // 3_600_000)

    assert commands_of(bench, look) <= few + 20  # the page of 20 is full now
    bench.client.flushall()  # or the check for leaked keys would look at each


def test_a_listing_goes_over_pages(bench):
    now_ms = bench.client.time()[0] * 1000
    bench.client.eval(FILL, 0, 2 * PAGE + 1, now_ms, now_ms // 3_600_000)

    assert ids(listed(bench, limit=3 * PAGE)) == [f"ended-{number}" for number in range(2 * PAGE + 1, 0, -1)]


def test_what_the_ledger_did_not_write_hides_nothing_else(bench):
    done = finish(bench)
    (key,) = bench.client.keys(bench.keys.ended("submitted", 0)[:-1] + "*")
    _, ended_ms, reason, destination = bench.client.lrange(key, 0, -1)[-1].split(" ")
    bench.client.rpush(key, f"order 42 {ended_ms} {reason} {destination}", "junk", "", f"x y {reason} z")
    bench.client.rpush(key, f"half {ended_ms} {reason} {destination}")
    bench.client.hset(bench.keys.record("half"), "state", "submitted")
    bench.client.expire(bench.keys.record("half"), 60)

    assert ids(listed(bench)) == [done]
