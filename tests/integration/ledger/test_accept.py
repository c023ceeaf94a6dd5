"""What is accepted, what is a repeat, and what is refused: one step, whatever is asked at once."""

from __future__ import annotations

import uuid

import pytest

from support.ledger_bench import LONG_MS
from transfer_tasks.ledger.verdicts import (
    Claim,
)
from transfer_tasks.outcome import Reason, State


def test_accept_writes_the_record_the_message_and_the_audit_line_in_one_step(bench):
    call_id = str(uuid.uuid4())
    accepted = bench.accept(call_id=call_id)
    assert (accepted.verdict, accepted.hop, accepted.state) == ("accepted", 1, State.WAITING)
    assert accepted.idempotency_key == f"{call_id}:1"
    record = bench.record(accepted.transfer_id)
    assert (record.state, record.call_id, record.attempts) == (State.WAITING, call_id, 0)
    assert record.expires_at_ms - record.accepted_at_ms == LONG_MS
    assert record.outcome is None
    assert bench.queued() == [accepted.transfer_id]
    assert bench.index("waiting") == {accepted.transfer_id}
    (line,) = bench.audit()
    assert (line["event"], line["destination"], line["requested_by"]) == (
        "transfer.accepted",
        "support",
        "test",
    )


def test_accept_without_a_queue_pushes_nothing(bench):
    bench.accept(queue="")
    assert bench.queued() == []


def test_the_same_id_again_changes_nothing_in_any_state(bench, sending):
    before = bench.record(sending.transfer_id)
    again = bench.accept(transfer_id=sending.transfer_id, call_id=sending.call_id)
    assert (again.verdict, again.state) == ("existing", State.SENDING)
    assert bench.record(sending.transfer_id) == before
    assert len(bench.queued()) == 1
    assert bench.events(sending.transfer_id).count("accepted") == 1


@pytest.mark.parametrize("step", ["waiting", "claimed", "sending"])
def test_while_a_transfer_is_open_the_same_request_is_a_repeat_and_another_is_refused(bench, step):
    first = bench.accept(call_id="c")
    if step != "waiting":
        claim = bench.claim(first.transfer_id)
        assert isinstance(claim, Claim)
        if step == "sending":
            bench.begin(claim)
    same, other = bench.accept(call_id="c"), bench.accept(call_id="c", destination="sales")
    assert (same.verdict, same.transfer_id) == ("repeat", first.transfer_id)
    assert (other.verdict, other.transfer_id, other.state) == ("in_progress", first.transfer_id, State(step))
    assert bench.queued() == [first.transfer_id]
    assert bench.events(first.transfer_id)[-2:] == ["repeated", "refused"]


def test_an_unknown_stands_in_the_way_until_it_is_resolved(bench, sending):
    bench.lose_answer(sending)
    assert bench.accept(call_id=sending.call_id).verdict == "repeat"
    assert bench.accept(call_id=sending.call_id, destination="sales").verdict == "in_progress"
    bench.resolve(sending.transfer_id, transferred=False)
    assert bench.accept(call_id=sending.call_id, destination="sales").verdict == "accepted"


def test_a_submitted_request_is_a_repeat_within_the_window_and_only_to_the_same_destination(bench, sending):
    bench.end(sending)
    call_id = sending.call_id
    assert bench.accept(call_id=call_id, repeat_window_ms=LONG_MS).verdict == "repeat"
    elsewhere = bench.accept(call_id=call_id, destination="sales", repeat_window_ms=LONG_MS)
    assert (elsewhere.verdict, elsewhere.hop) == ("accepted", 2)


def test_a_submitted_request_is_new_after_the_window(bench, sending):
    bench.end(sending)
    assert bench.accept(call_id=sending.call_id, repeat_window_ms=0).verdict == "accepted"


@pytest.mark.parametrize("ending", ["failed", "rejected", "cancelled", "expired"])
def test_what_ended_without_a_move_may_be_asked_for_again_at_once(bench, ending):
    first = bench.accept(call_id="c", remaining_ms=-1 if ending == "expired" else LONG_MS)
    if ending == "cancelled":
        bench.cancel(first.transfer_id)
    else:
        claim = bench.claim(first.transfer_id)
        if isinstance(claim, Claim):
            bench.end(claim, State(ending), Reason.REFUSED_BY_PLATFORM)
    assert bench.record(first.transfer_id).state == ending
    again = bench.accept(call_id="c")
    assert (again.verdict, again.hop, again.idempotency_key) == ("accepted", 2, "c:2")


def test_a_key_with_the_same_content_is_the_first_transfer_also_after_it_has_ended(bench):
    first = bench.accept(key="order-1", call_id="c")
    bench.cancel(first.transfer_id)
    again = bench.accept(key="order-1", call_id="c")
    assert (again.verdict, again.transfer_id, again.state) == ("repeat", first.transfer_id, State.CANCELLED)


def test_a_key_with_other_content_is_a_conflict_and_never_a_second_transfer(bench):
    first = bench.accept(key="order-1", call_id="c")
    bench.cancel(first.transfer_id)
    other = bench.accept(key="order-1", call_id="d", destination="sales")
    assert (other.verdict, other.transfer_id, other.idempotency_key) == (
        "conflict",
        first.transfer_id,
        "order-1",
    )
    assert len(bench.queued()) == 1


def test_a_key_that_we_made_is_known_when_it_comes_back_as_a_callers_own(bench):
    first = bench.accept(call_id="c")
    assert first.idempotency_key == "c:1"
    assert bench.client.keys(bench.keys.idempotency("*")) == [], "ours need no index"
    again = bench.accept(call_id="c", key="c:1")
    assert (again.verdict, again.transfer_id) == ("repeat", first.transfer_id)
    other = bench.accept(call_id="d", key="c:1", destination="sales")
    assert (other.verdict, other.transfer_id) == ("conflict", first.transfer_id)
    bench.cancel(first.transfer_id)
    bench.accept(call_id="c", key="c:3")
    bench.cancel(bench.accept(call_id="c", key="c:3").transfer_id)
    third = bench.accept(call_id="c")
    assert third.idempotency_key == f"c:3:{third.transfer_id}"
    again = bench.accept(call_id="c", key=third.idempotency_key)
    assert (again.verdict, again.transfer_id) == ("repeat", third.transfer_id)


@pytest.mark.parametrize("key", ["c:0", "c:01", "c:2", "c:-1", "c:" + 30 * "9", "d:1", ":1", "c:", "c:1x"])
def test_a_key_that_only_resembles_one_of_ours_is_a_new_one(bench, key):
    bench.cancel(bench.accept(call_id="c").transfer_id)
    accepted = bench.accept(call_id="c", key=key)
    assert (accepted.verdict, accepted.idempotency_key) == ("accepted", key)


def test_a_key_that_looks_like_a_later_hop_does_not_end_up_on_two_transfers(bench):
    first = bench.accept(call_id="c", key="c:2")
    bench.cancel(first.transfer_id)
    second = bench.accept(call_id="c", destination="sales")
    assert second.verdict == "accepted"
    assert second.idempotency_key != first.idempotency_key
    assert bench.accept(call_id="c", key="c:2").transfer_id == first.transfer_id


def test_a_repeat_is_heard_by_both_and_each_channel_once(bench, redis_url):
    first = bench.accept(call_id="c", reply_to="transfer:reply:1")
    for channel in ("transfer:reply:2", "transfer:reply:1", "transfer:reply:2"):
        bench.accept(call_id="c", reply_to=channel)
    with bench.client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("transfer:reply:1", "transfer:reply:2")
        assert [listener.get_message(timeout=1) for _ in range(2)] == [None, None]  # both are subscribed
        bench.cancel(first.transfer_id)
        heard = [listener.get_message(timeout=1) for _ in range(2)]
        assert listener.get_message(timeout=0.05) is None
    assert sorted(message["channel"] for message in heard) == ["transfer:reply:1", "transfer:reply:2"]
    assert {message["data"] for message in heard} == {first.transfer_id}
