"""What is known of the age of a message that brings its own intent, and how the steps keep it."""

from __future__ import annotations

import json
import uuid

import pytest

from transfer_tasks.outcome import Reason, State

QUEUE = "transfers"


@pytest.fixture
def see(bench):
    def see(transfer_id=None, *, is_needed=True, is_moved=False, empty_ms=0, after=""):
        command = bench.commands.sight(
            transfer_id or str(uuid.uuid4()),
            is_needed=is_needed,
            is_moved=is_moved,
            empty_ms=empty_ms,
            after=after,
        )
        return bench.run(command)

    return see


@pytest.fixture
def heartbeat(bench):
    def heartbeat():
        heard = bench.run(
            bench.commands.heartbeat(worker="w1", lease_ms=60_000, about_json="{}", queue=bench.queue)
        )
        return heard.empty_ms

    return heartbeat


def now_ms(bench):
    seconds, micros = bench.client.time()
    return seconds * 1000 + micros // 1000


def test_a_heartbeat_tells_when_the_queue_was_last_empty(bench, heartbeat):
    before = now_ms(bench)
    empty = heartbeat()
    assert before <= empty <= now_ms(bench)
    bench.client.lpush(bench.queue, "anything")
    assert heartbeat() == empty
    bench.client.delete(bench.queue)
    assert heartbeat() >= empty


def test_a_message_that_is_not_acknowledged_is_still_in_the_queue(bench, heartbeat):
    bench.client.hset(bench.keys.unacked, "tag", "[]")
    assert heartbeat() == 0
    bench.client.delete(bench.keys.unacked)
    assert heartbeat() > 0


def test_the_later_of_both_bounds_counts_and_stays(bench, see):
    first, second = bench.accept().transfer_id, str(uuid.uuid4())
    accepted_ms = bench.record(first).accepted_at_ms
    assert see(empty_ms=accepted_ms - 5000, after=first).sent_after_ms == accepted_ms
    assert see(second, empty_ms=accepted_ms - 5000).sent_after_ms == accepted_ms - 5000
    assert see(second, empty_ms=accepted_ms, after=first).sent_after_ms == accepted_ms - 5000
    assert see(second, is_moved=True).sent_after_ms == accepted_ms - 5000


def test_a_message_that_was_moved_has_only_what_was_kept(bench, see):
    assert see(is_moved=True, empty_ms=now_ms(bench), after=bench.accept().transfer_id).sent_after_ms == 0


def test_nothing_is_kept_for_a_message_with_a_deadline_of_its_own(bench, see):
    transfer_id = str(uuid.uuid4())
    assert see(transfer_id, is_needed=False, empty_ms=now_ms(bench)).sent_after_ms == 0
    assert not bench.client.exists(bench.keys.sight(transfer_id))


def test_a_transfer_that_was_requeued_or_came_with_its_message_bounds_nothing(bench, see):
    requeued, brought = bench.accept().transfer_id, bench.accept(queue="").transfer_id
    bench.client.hset(bench.keys.record(requeued), "requeued_ms", now_ms(bench))
    assert see(after=requeued).sent_after_ms == 0
    assert see(after=brought).sent_after_ms == 0
    assert see(after=str(uuid.uuid4())).sent_after_ms == 0


def test_a_clock_that_was_set_back_makes_no_message_younger(bench, see):
    sight = see(empty_ms=now_ms(bench) + 60_000)
    assert sight.sent_after_ms == sight.now_ms


def test_the_deadline_of_what_a_message_brought_is_redis_time_itself(bench):
    latest_ms = now_ms(bench) + 3000
    transfer_id = bench.accept(queue="", remaining_ms=None, latest_ms=latest_ms).transfer_id
    assert bench.record(transfer_id).expires_at_ms == latest_ms


def message(transfer_id):
    return json.dumps({"headers": {"id": transfer_id}, "properties": {"priority": 5}})


def test_the_sweep_moves_what_has_a_priority_and_keeps_what_is_known_of_its_age(bench, see):
    before = now_ms(bench)
    bench.recover()  # sees that there is none
    after = now_ms(bench)
    first, second, third = (str(uuid.uuid4()) for _ in range(3))
    bench.client.lpush(f"{QUEUE}\x06\x165", message(first), message(second))
    bench.client.lpush(f"{QUEUE}\x06\x169", message(third.upper()), "junk", '{"headers": {"id": "order 42"}}')

    bench.recover()

    assert bench.client.keys(f"{QUEUE}\x06*") == []
    queued = bench.client.lrange(bench.queue, 0, -1)[::-1]
    assert queued[:2] == [message(first), message(second)]
    assert set(queued[2:]) == {message(third.upper()), "junk", '{"headers": {"id": "order 42"}}'}
    for transfer_id in (first, second, third):
        assert before <= see(transfer_id, is_moved=True).sent_after_ms <= after
    assert not bench.client.exists(bench.keys.sight("order 42"))


def test_a_list_of_the_wrong_kind_does_not_stop_the_sweep(bench):
    bench.client.set(f"{QUEUE}\x06\x163", "junk", ex=60)
    bench.client.lpush(f"{QUEUE}\x06\x164", message("x"))
    bench.recover()
    assert bench.client.lrange(bench.queue, 0, -1) == [message("x")]


def test_the_same_id_with_other_content_is_a_conflict_with_a_line_of_its_own(bench):
    first = bench.accept(content="a")
    call_id = str(uuid.uuid4())
    again = bench.accept(transfer_id=first.transfer_id, content="b", call_id=call_id, destination="desk")
    assert (again.verdict, again.transfer_id) == ("conflict", first.transfer_id)
    assert bench.accept(transfer_id=first.transfer_id, content="a").verdict == "existing"
    assert_conflict(bench, first.transfer_id, call_id)


def test_so_is_it_when_the_first_has_ended(bench):
    first = bench.accept(content="a").transfer_id
    bench.cancel(first)
    before = bench.record(first)
    call_id = str(uuid.uuid4())
    assert bench.accept(transfer_id=first, content="b", call_id=call_id).verdict == "conflict"
    assert bench.record(first) == before
    assert bench.accept(transfer_id=first, content="a").verdict == "existing"
    assert_conflict(bench, first, call_id)


def test_a_refusal_of_other_content_is_told_to_its_sender_alone(bench):
    first = bench.accept(content="a").transfer_id
    call_id = str(uuid.uuid4())
    refused = bench.run(
        bench.commands.refuse(
            first,
            call_id=call_id,
            state=State.REJECTED,
            reason=Reason.INVALID_INTENT,
            detail="x",
            content_digest="b",
        )
    )
    assert refused is not None
    assert (refused.outcome.reason, refused.outcome.call_id) == (Reason.IDEMPOTENCY_CONFLICT, call_id)
    assert bench.record(first).state is State.WAITING
    assert_conflict(bench, first, call_id)


def assert_conflict(bench, transfer_id, call_id):
    (line,) = [line for line in bench.audit() if line["event"] == "transfer.refused"]
    assert (line["transfer_id"], line["call_id"]) == (transfer_id, call_id)
    assert (line["verdict"], line["refused_transfer_id"]) == ("conflict", transfer_id)
    assert line["first_call_id"] not in {"", call_id}
