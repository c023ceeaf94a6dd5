"""Limits on rate: what is accepted beyond one ends at once, and concurrent publishers never exceed it."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.ledger_bench import LedgerBench, finish, outcome_of
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_tasks.registry.limits import LIMIT_KINDS, LIMIT_OF_CALL

OPERATOR = OperatorCommands(retention_seconds=1000)
REFUSED = (State.REJECTED, Reason.LIMIT_REACHED)
CALL = "call-1"


def ask(bench, **asked):
    """Ask for a transfer that ends at once; return its record."""
    accepted = bench.accept(**asked)
    assert accepted.verdict == "accepted"
    bench.cancel(accepted.transfer_id)
    return bench.record(accepted.transfer_id)


def is_refused(record):
    return (record.state, record.reason) == REFUSED


def test_a_call_is_moved_five_times_in_ten_minutes_where_nobody_has_set_a_limit(bench):
    asked = [ask(bench, call_id=CALL, destination=f"place-{number}") for number in range(7)]
    assert [is_refused(record) for record in asked] == [False] * 5 + [True] * 2
    assert asked[-1].detail == "call: 5 in 600 s are the limit"
    assert not is_refused(ask(bench, call_id="call-2"))
    assert (LIMIT_OF_CALL.number, LIMIT_OF_CALL.seconds) == (5, 600)


def test_what_is_refused_is_audited_counted_by_its_limit_and_never_queued(bench):
    bench.limit(call="1/60")
    ask(bench, call_id=CALL)
    refused = bench.accept(call_id=CALL, destination="sales", reply_to=bench.keys.reply("listener"))
    assert refused.state is State.REJECTED
    assert bench.events(refused.transfer_id) == ["accepted", "finished"]
    last = bench.audit(refused.transfer_id)[-1]
    assert (last["reason"], last["detail"]) == ("limit_reached", "call: 1 in 60 s are the limit")
    assert refused.transfer_id not in bench.queued()
    assert refused.transfer_id not in bench.index("waiting")
    assert bench.counted("limited|call") == 1
    assert outcome_of(bench.claim(refused.transfer_id)).reason is Reason.LIMIT_REACHED


SAME = {
    "call": {"call_id": CALL},
    "destination": {"destination": "support"},
    "requester": {"asked_by": "ana"},
    "all": {},
}
OTHER = {
    "call": {"call_id": "call-2"},
    "destination": {"destination": "sales"},
    "requester": {"asked_by": "bob"},
}


@pytest.mark.parametrize("kind", LIMIT_KINDS)
def test_each_limit_counts_its_own(bench, kind):
    bench.limit(**{"destination__support" if kind == "destination" else kind: "2/60"})
    different = [{"destination": name, "asked_by": name} for name in ("one", "two", "three")]
    assert [is_refused(ask(bench, **{**other, **SAME[kind]})) for other in different] == [False, False, True]
    if kind != "all":
        assert not is_refused(ask(bench, **OTHER[kind]))


def test_who_asks_is_the_key_that_has_signed_and_nobody_has_no_limit(bench):
    bench.limit(requester="1/60")
    assert [is_refused(ask(bench, signature="voice:00", asked_by=name)) for name in "ab"] == [False, True]
    assert not is_refused(ask(bench, signature="crm:00", asked_by="a"))
    assert not any(is_refused(ask(bench)) for _ in range(3))


def test_a_refusal_counts_for_no_limit(bench):
    bench.limit(call="1/60", all="2/60")
    ask(bench, call_id=CALL)
    assert all(is_refused(ask(bench, call_id=CALL, destination=name)) for name in ("one", "two", "three"))
    assert not is_refused(ask(bench))


def test_a_paused_destination_counts_for_no_limit(bench):
    bench.limit(all="1/60")
    bench.client.hset(bench.keys.paused, "support", "{}")
    bench.client.expire(bench.keys.paused, 100)
    assert bench.record(bench.accept().transfer_id).reason is Reason.DESTINATION_PAUSED
    assert not is_refused(ask(bench, destination="sales"))


def test_a_repeat_and_the_same_id_count_once_and_come_before_the_limit(bench):
    bench.limit(all="1/60")
    first = bench.accept(call_id=CALL)
    assert bench.accept(call_id=CALL, transfer_id=first.transfer_id).verdict == "existing"
    assert bench.accept(call_id=CALL).verdict == "repeat"
    assert bench.accept(call_id=CALL, destination="sales").verdict == "in_progress"
    assert bench.accept(call_id=CALL, transfer_id=first.transfer_id, content="other").verdict == "conflict"
    assert bench.client.zcard(bench.keys.limit("all", "*")) == 1


def test_the_time_slides(bench):
    bench.limit(all="2/60", destination__support="2/60")
    for _ in range(2):
        ask(bench)
    assert is_refused(ask(bench))
    for key in (bench.keys.limit("all", "*"), bench.keys.limit("destination", "support")):
        oldest, *_ = bench.client.zrange(key, 0, 0)
        bench.client.zincrby(key, -60_000, oldest)
    assert not is_refused(ask(bench))
    assert is_refused(ask(bench))
    assert bench.client.zcard(bench.keys.limit("all", "*")) == 2  # what counts no more is dropped


def test_counts_from_before_redis_clock_was_set_back_do_not_hold_everybody_up(bench):
    bench.limit(all="1/60")
    ask(bench)
    bench.client.zincrby(
        bench.keys.limit("all", "*"), 3_600_000, *bench.client.zrange(bench.keys.limit("all", "*"), 0, 0)
    )
    assert not is_refused(ask(bench))


def test_what_an_operator_asks_for_again_has_no_limit_and_counts_for_none(bench):
    bench.limit(call="1/60")
    last = ask(bench, call_id=CALL)
    for _ in range(2):
        replay = bench.accept(call_id=CALL, after=last.transfer_id)
        assert replay.state is State.WAITING
        assert isinstance(bench.claim(replay.transfer_id), Claim)
        bench.cancel(replay.transfer_id)
        last = bench.record(replay.transfer_id)
    assert bench.client.zcard(bench.keys.limit("call", CALL)) == 0
    assert is_refused(ask(bench, call_id=CALL, destination="sales"))


def test_a_calls_first_transfer_counts_from_when_it_was_accepted_though_only_a_second_one_is_counted(bench):
    bench.limit(call="2/60")
    first = ask(bench, call_id=CALL)
    bench.cancel(first.transfer_id)
    assert not bench.client.exists(bench.keys.limit("call", CALL))  # most calls have one

    second = ask(bench, call_id=CALL, destination="sales")
    bench.cancel(second.transfer_id)

    counted = dict(bench.client.zrange(bench.keys.limit("call", CALL), 0, -1, withscores=True))
    assert counted == {
        each.transfer_id: bench.record(each.transfer_id).accepted_at_ms for each in (first, second)
    }
    assert is_refused(ask(bench, call_id=CALL, destination="billing"))


def test_a_first_transfer_of_long_ago_counts_no_more(bench):
    bench.limit(call="1/60")
    first = finish(bench, call_id=CALL)
    bench.client.hincrby(bench.keys.record(first), "accepted_ms", -61_000)
    assert not is_refused(ask(bench, call_id=CALL, destination="sales"))


@pytest.mark.parametrize("paused", [True, False])
def test_a_first_transfer_that_was_refused_does_not_count(bench, paused):
    if paused:
        bench.run(OPERATOR.pause("support", operator="ana", reason="flood", limit=10))
        assert ask(bench, call_id=CALL).state is State.REJECTED
    else:
        bench.limit(destination__support="1/60")
        ask(bench)
        assert is_refused(ask(bench, call_id=CALL))
    bench.limit(call="1/60")
    assert not is_refused(ask(bench, call_id=CALL, destination="sales"))
    bench.cancel(bench.ledger.read_call(CALL)[-1].transfer_id)
    assert is_refused(ask(bench, call_id=CALL, destination="billing"))


def accept_without_count(bench, **asked):
    """Put a transfer on record as a version without limits does."""
    accepted = bench.accept(**asked)
    bench.client.hdel(bench.keys.record(accepted.transfer_id), "counted")
    for key in bench.client.keys(f"{bench.keys.namespace}:limit:*"):
        bench.client.zrem(key, accepted.transfer_id)
    return accepted.transfer_id


@pytest.mark.parametrize("with_reading", [True, False])
def test_what_no_acceptance_has_counted_is_counted_by_its_claim_and_once(bench, with_reading):
    bench.limit(destination__support="2/60")
    claim = bench.claim_and_begin if with_reading else bench.claim
    uncounted = [accept_without_count(bench) for _ in range(3)]
    taken = [claim(transfer_id, claim_id="c") for transfer_id in uncounted]
    assert [isinstance(found, Claim) for found in taken] == [True, True, False]
    assert outcome_of(taken[2]).reason is Reason.LIMIT_REACHED
    assert isinstance(claim(uncounted[0], claim_id="c"), Claim)  # its answer was lost
    assert bench.client.zcard(bench.keys.limit("destination", "support")) == 2
    assert bench.record(uncounted[2]).attempts == 0


def test_a_claim_after_a_takeover_counts_nothing_again(bench):
    bench.limit(all="1/60")
    transfer_id = accept_without_count(bench)
    bench.heartbeat()
    bench.claim(transfer_id)
    bench.bury()
    bench.recover()
    assert isinstance(bench.claim(transfer_id, worker="w2"), Claim)


def test_limits_that_are_set_bind_and_are_audited_when_they_change(bench):
    assert bench.limit(call="3/60")
    assert not bench.limit(call="3/60")
    assert bench.limit(call="3/60", all="9/60")
    assert bench.limit(all="9/60")
    told = [line["detail"] for line in bench.audit() if line["event"] == "limits.set"]
    assert told == ["call 3/60", "all 9/60, call 3/60", "all 9/60, call off"]
    assert bench.client.hgetall(bench.keys.limits) == {"all": "9/60", "call": "off"}


def test_limits_last_while_there_is_a_worker(bench):
    bench.limit(call="3/60")
    bench.client.expire(bench.keys.limits, 5)
    bench.heartbeat()
    assert bench.client.ttl(bench.keys.limits) > 5


def test_whatever_stands_in_place_of_the_limits_is_replaced(bench):
    bench.client.set(bench.keys.limits, "junk", ex=100)
    heartbeat = bench.commands.heartbeat(worker="w1", lease_ms=1000, about_json="{}", queue=bench.queue)
    assert not bench.run(heartbeat).has_limits
    bench.limit(call="1/60")
    assert bench.run(heartbeat).has_limits
    assert bench.client.hgetall(bench.keys.limits) == {"call": "1/60"}


@pytest.mark.parametrize("junk", ["", "junk", "5", "5/", "1/9999999999", "99999999999999999999/60", "-1/60"])
def test_a_limit_that_nobody_can_read_is_none_but_for_a_call(bench, junk):
    bench.limit(call=junk, all=junk)
    asked = [ask(bench, call_id=CALL, destination=f"place-{number}") for number in range(6)]
    assert [is_refused(record) for record in asked] == [False] * 5 + [True]


def test_concurrent_publishers_never_exceed_a_limit(redis_url, bench):
    bench.limit(all="50/60", destination__support="20/60", requester="15/60")
    begin, accepted = threading.Barrier(12), []

    def publish(number):
        with connect(redis_url, timeout_seconds=30) as client:
            own = LedgerBench(client)
            begin.wait()
            for turn in range(20):
                name = "support" if turn % 2 else "sales"
                who = f"publisher-{number % 6}"
                reply = own.accept(destination=name, asked_by=who)
                if reply.state is State.WAITING:
                    accepted.append((reply.transfer_id, name, who))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(publish, range(12)))

    assert len(accepted) == 50
    assert sum(name == "support" for _, name, _ in accepted) <= 20
    assert all(sum(who == f"publisher-{number}" for _, _, who in accepted) <= 15 for number in range(6))
    assert set(bench.client.zrange(bench.keys.limit("all", "*"), 0, -1)) == {one for one, _, _ in accepted}


def test_counters_go_when_nothing_counts_any_more(bench):
    bench.limit(call="5/60", all="5/3600")
    bench.cancel(finish(bench, call_id=CALL))
    ask(bench, call_id=CALL, destination="sales")
    assert 0 < bench.client.ttl(bench.keys.limit("call", CALL)) <= 60
    assert 60 < bench.client.ttl(bench.keys.limit("all", "*")) <= 3600


def test_a_counter_of_another_type_stops_the_step_before_anything_is_written(bench):
    finish(bench, call_id=CALL)
    key = bench.keys.limit("call", CALL)
    bench.client.set(key, "junk", ex=100)
    transfer_id = str(uuid.uuid4())
    with pytest.raises(Exception, match=r"another type|WRONGTYPE"):
        bench.accept(call_id=CALL, transfer_id=transfer_id, destination="sales")
    assert bench.ledger.read(transfer_id) is None
    bench.client.delete(key)
    assert not is_refused(ask(bench, call_id=CALL, transfer_id=transfer_id, destination="sales"))
