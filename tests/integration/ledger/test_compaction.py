"""A day after its ending a record has no words any more, and what suppresses repeats."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from support.cluster import make_intent
from support.ledger_bench import LONG_MS, LedgerBench, disbelieve, finish, start
from support.passing_days import (
    HOURS,
    WEEK_SECONDS,
    compact_everything,
    let_a_day_pass,
    now_ms,
    read_pointer,
)
from support.role_users import open_bench
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.acceptance import build_accept

STAYS = {
    *("state", "call_id", "key", "hop", "attempt", "token", "destination_digest", "content_digest"),
    *("accepted_ms", "expires_ms", "ended_ms", "reason", "source", "http_status", "labels", "compacted"),
}
KNOWN_OF_IT_BESIDES = {
    "detail": "it is so",
    "moved_by": "t-1",
    "requeued_ms": "1",
    "brought": "1",
    "request_id": "r-1",
    "reported": "room",
    "connection": '{"status":"connected","source":"room"}',
    "rings_until_ms": "0",
    "erased_ms": "1",
    "late:7": "submitted",
}


@pytest.fixture
def bench(redis_url):
    with open_bench(redis_url, retention_seconds=WEEK_SECONDS) as bench:
        yield bench


def fields(bench: LedgerBench, transfer_id: str) -> dict[str, str]:
    held: Any = bench.client.hgetall(bench.keys.record(transfer_id))
    return dict(held)


def is_compacted(bench: LedgerBench, transfer_id: str) -> bool:
    return bench.record(transfer_id).is_compacted


def pass_a_day(bench: LedgerBench) -> None:
    let_a_day_pass(bench)
    compact_everything(bench)


# --- what goes, and what stays


def test_words_go_and_what_suppresses_repeats_stays(bench):
    transfer_id = finish(bench, reply_to=bench.keys.reply("p"), signature="voice:5", asked_by="Grace Hopper")
    before, ttl = fields(bench, transfer_id), bench.client.ttl(bench.keys.record(transfer_id))
    let_a_day_pass(bench)
    ended_ms = fields(bench, transfer_id)["ended_ms"]

    compact_everything(bench)

    after = fields(bench, transfer_id)
    assert after.keys() == STAYS
    assert after == {**{name: before[name] for name in STAYS - {"compacted"}}, "ended_ms": ended_ms} | {
        "compacted": "1"
    }
    assert "Hopper" in str(before)
    assert abs(bench.client.ttl(bench.keys.record(transfer_id)) - ttl) < 60


def test_what_became_known_of_it_besides_stays(bench):
    transfer_id = finish(bench)
    bench.client.hset(bench.keys.record(transfer_id), mapping=KNOWN_OF_IT_BESIDES)
    pass_a_day(bench)
    assert fields(bench, transfer_id).items() >= KNOWN_OF_IT_BESIDES.items()


def test_what_a_later_version_keeps_goes_too(bench):
    transfer_id = finish(bench)
    bench.client.hset(bench.keys.record(transfer_id), "words", "of a caller")
    pass_a_day(bench)
    assert "words" not in fields(bench, transfer_id)


def test_of_attempts_their_reasons_stay_but_for_the_one_that_was_accepted(bench):
    claim = start(bench)
    bench.retry(claim)
    bench.begin(claim, attempt=2)
    bench.end(claim, answer_json='{"said": "Hopper"}')
    other = start(bench)
    bench.end(other, State.REJECTED, Reason.CALL_NOT_FOUND, http_status=404, answer_json='{"said": "Hopper"}')

    pass_a_day(bench)

    assert bench.record(claim.transfer_id).attempt_notes == ({"reason": "platform_unavailable"},)
    assert bench.record(other.transfer_id).attempt_notes == ({"reason": "call_not_found"},)


def test_what_somebody_says_was_not_moved_keeps_whose_answer_may_come(bench):
    claim = disbelieve(bench)
    pass_a_day(bench)
    held = fields(bench, claim.transfer_id)
    assert held["worker"] == "w1"
    assert "begun_ms" in held
    bench.end(claim)
    line = bench.audit(claim.transfer_id)[-1]
    assert (line["event"], line["state"], line["worker"]) == ("transfer.resolved", "submitted", "w1")
    assert bench.record(claim.transfer_id).attempt_notes[0]["worker"] == "w1"


@pytest.mark.parametrize(("value_bytes", "most"), [(4096, 560), (64, 1200)])
def test_it_takes_little_more_than_half_of_the_memory(private_redis, value_bytes, most):
    with open_bench(private_redis.url, retention_seconds=WEEK_SECONDS) as bench:
        bench.client.config_set("hash-max-ziplist-value", value_bytes)  # the name that 6.2 knows, too
        asked = bench.run(
            build_accept(
                bench.commands,
                make_intent("support", reason="The invoice is wrong", requested_by="agent billing-bot"),
                queue=bench.queue,
                remaining_ms=LONG_MS,
            )
        )
        claim = bench.claim(asked.transfer_id)
        assert isinstance(claim, Claim)
        bench.begin(claim)
        bench.end(claim, answer_json='{"message": "Transfer queued", "status": "success"}')
        key = bench.keys.record(asked.transfer_id)
        before: Any = bench.client.memory_usage(key, samples=0)

        pass_a_day(bench)

        after: Any = bench.client.memory_usage(key, samples=0)
        assert after <= most
        assert after < 0.7 * before  # a hash table has a bucket more or less, as its seed falls


# --- what is compacted, and when


def test_what_ended_less_than_a_day_ago_is_whole(bench):
    transfer_id = finish(bench)
    let_a_day_pass(bench)
    bench.client.hset(bench.keys.record(transfer_id), "ended_ms", now_ms(bench) - 23 * 3_600_000)
    compact_everything(bench)
    assert not is_compacted(bench, transfer_id)


def test_the_list_of_an_hour_that_is_not_a_day_old_is_not_touched(bench):
    transfer_id = finish(bench)
    this_hour = now_ms(bench) // 3_600_000
    let_a_day_pass(bench)
    bench.client.rename(
        bench.keys.ended("submitted", this_hour - HOURS), bench.keys.ended("submitted", this_hour - 24)
    )
    compact_everything(bench)
    assert not is_compacted(bench, transfer_id)
    assert read_pointer(bench) == ((now_ms(bench) - 24 * 3_600_000) // 3_600_000, 1, 0)


def test_every_way_to_end_is_compacted_in_its_turn(bench):
    ended = [
        finish(bench),
        finish(bench, state=State.REJECTED, reason=Reason.CALL_NOT_FOUND),
        finish(bench, state=State.FAILED, reason=Reason.PLATFORM_UNREACHABLE),
        bench.accept(remaining_ms=-1).transfer_id,
        bench.accept().transfer_id,
    ]
    bench.expire(ended[3])
    bench.cancel(ended[4])
    assert [bench.record(each).state for each in ended] == [
        *(State.SUBMITTED, State.REJECTED, State.FAILED, State.EXPIRED, State.CANCELLED)
    ]
    pass_a_day(bench)
    assert all(is_compacted(bench, each) for each in ended)


def test_what_is_unknown_stays_whole_until_a_day_after_it_was_settled(bench):
    claim = start(bench)
    bench.lose_answer(claim)
    pass_a_day(bench)
    assert not is_compacted(bench, claim.transfer_id)
    bench.resolve(claim.transfer_id, transferred=True)
    compact_everything(bench)
    assert not is_compacted(bench, claim.transfer_id)
    pass_a_day(bench)
    assert is_compacted(bench, claim.transfer_id)


def test_words_of_an_answer_that_came_after_that_go_a_day_later(bench):
    claim = disbelieve(bench)
    pass_a_day(bench)
    bench.end(claim, answer_json='{"said": "Hopper"}')
    compact_everything(bench)
    assert "Hopper" in str(fields(bench, claim.transfer_id))
    pass_a_day(bench)
    assert "Hopper" not in str(fields(bench, claim.transfer_id))


def test_a_damaged_record_is_left_as_it_is_and_so_is_what_is_no_record(bench):
    damaged, junk, gone, whole = (finish(bench) for _ in range(4))
    let_a_day_pass(bench)
    bench.client.hdel(bench.keys.record(damaged), "expires_ms")
    bench.client.delete(bench.keys.record(junk), bench.keys.record(gone))
    bench.client.set(bench.keys.record(junk), "x", ex=100)
    held = fields(bench, damaged)
    (hour_list,) = bench.client.keys(bench.keys.ended("submitted", 0).replace(":0", ":*"))
    bench.client.rpush(hour_list, "junk", "")

    compact_everything(bench)

    assert fields(bench, damaged) == held
    assert bench.client.get(bench.keys.record(junk)) == "x"
    assert not bench.client.exists(
        bench.keys.record(gone), bench.keys.damaged(damaged), bench.keys.damaged(junk)
    )
    assert is_compacted(bench, whole)
    assert not bench.record(whole).is_damaged


def test_a_list_that_is_none_stops_nothing(bench):
    transfer_id = finish(bench)
    let_a_day_pass(bench)
    hour = now_ms(bench) // 3_600_000 - HOURS - 1
    bench.client.set(bench.keys.ended("submitted", hour), "x", ex=100)
    compact_everything(bench)
    assert is_compacted(bench, transfer_id)


def test_nothing_is_compacted_where_no_record_lives_longer_than_a_day(redis_url):
    with open_bench(redis_url, retention_seconds=24 * 3600) as bench:
        transfer_id = finish(bench)
        let_a_day_pass(bench)
        before = read_pointer(bench)
        assert compact_everything(bench) == 0
        assert read_pointer(bench) == before
        assert not is_compacted(bench, transfer_id)


# --- single cases of what comes after a compaction; test_compaction_courses.py has the many


def test_a_409_knows_what_a_compacted_attempt_has_proven(bench):
    proven, perhaps = str(uuid.uuid4()), str(uuid.uuid4())
    bench.end(start(bench, call_id=proven), State.REJECTED, Reason.CALL_NOT_FOUND, http_status=404)
    bench.end(start(bench, call_id=perhaps), State.FAILED, Reason.PLATFORM_UNAVAILABLE, http_status=503)
    pass_a_day(bench)
    states = []
    for call_id in (proven, perhaps):
        claim = start(bench, call_id=call_id)
        bench.end(claim, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409)
        states.append(bench.record(claim.transfer_id).state)
    assert states == [State.REJECTED, State.UNKNOWN]


def test_an_attempt_of_which_there_is_no_note_may_have_been_carried_out(bench):
    call_id = str(uuid.uuid4())
    first = start(bench, call_id=call_id)
    bench.end(first, State.REJECTED, Reason.CALL_NOT_FOUND, http_status=404)
    bench.client.hdel(bench.keys.record(first.transfer_id), "attempt:1")
    second = start(bench, call_id=call_id)
    bench.end(second, State.REJECTED, Reason.TRANSFER_IN_PROGRESS, http_status=409)
    assert bench.record(second.transfer_id).state is State.UNKNOWN
