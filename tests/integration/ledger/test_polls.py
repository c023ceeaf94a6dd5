"""Who may ask the platform how a request went: one at a time, paced for all, so many times, whoever dies."""

from __future__ import annotations

import json

import pytest

from support import wait_until
from transfer_tasks.ledger.verdicts import Poll
from transfer_tasks.outcome import Reason, State

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MINUTE_MS = 60_000


def redis_ms(bench) -> int:
    seconds, microseconds = bench.client.time()
    return seconds * 1000 + microseconds // 1000


def plan(bench, request_id="r-1", *, due_in_ms=0, number=0, life_ms=15 * MINUTE_MS):
    """Put a question on record as `end_attempt` does."""
    now = redis_ms(bench)
    note = {"call_id": CALL_ID, "number": number, "until_ms": now + life_ms}
    bench.client.zadd(bench.keys.polls, {request_id: now + due_in_ms})
    bench.client.hset(bench.keys.poll_notes, request_id, json.dumps(note))
    for key in (bench.keys.polls, bench.keys.poll_notes):
        bench.client.expire(key, 1000)


def take(bench, *, lease_ms=MINUTE_MS, pace_ms=0, max_polls=12):
    return bench.run(bench.commands.take_poll(lease_ms=lease_ms, pace_ms=pace_ms, max_polls=max_polls))


def end(bench, poll, *, wait_ms=None, hold_ms=None):
    bench.run(bench.commands.end_poll(poll, seen="told", wait_ms=wait_ms, hold_ms=hold_ms))


def count(bench, what):
    return bench.counted(f"poll|{what}")


def test_where_nothing_is_planned_nobody_asks(bench):
    assert take(bench) is None


def test_what_is_due_is_given_to_one_worker(bench):
    plan(bench)
    assert take(bench) == Poll(request_id="r-1", call_id=CALL_ID, number=1)
    assert 59 < take(bench) <= 60


def test_what_is_not_due_waits(bench):
    plan(bench, due_in_ms=30_000)
    assert 29 < take(bench) <= 30


def test_the_oldest_is_first(bench):
    plan(bench, "late", due_in_ms=-1)
    plan(bench, "early", due_in_ms=-1000)
    assert [take(bench).request_id for _ in range(2)] == ["early", "late"]


def test_a_worker_that_is_killed_is_succeeded_and_its_question_counts(bench):
    plan(bench)
    first = take(bench, lease_ms=1)  # and is heard of no more
    until_ms = redis_ms(bench) + 2
    wait_until(lambda: redis_ms(bench) > until_ms)
    assert (first.number, take(bench).number) == (1, 2)


def test_whoever_was_overtaken_changes_nothing(bench):
    plan(bench)
    first = take(bench, lease_ms=0)
    second = take(bench)
    assert (first.number, second.number) == (1, 2)
    end(bench, first)
    assert bench.client.zcard(bench.keys.polls) == 1
    end(bench, second)
    assert bench.client.zcard(bench.keys.polls) == 0


def test_an_end_that_is_repeated_is_one_end(bench):
    plan(bench)
    poll = take(bench)
    for _ in range(2):
        end(bench, poll)
    assert bench.client.hgetall(bench.keys.poll_notes).keys() == {"*next_ms"}


def test_what_is_not_settled_is_asked_again_later(bench):
    plan(bench)
    end(bench, take(bench), wait_ms=30_000)
    assert 29 < take(bench) <= 30


def test_all_workers_together_keep_the_pace(bench):
    for number in range(3):
        plan(bench, f"r-{number}")
    assert isinstance(take(bench, pace_ms=30_000), Poll)
    assert 29 < take(bench) <= 30


def test_a_hold_is_kept_by_all_and_never_shortened(bench):
    for number in range(3):
        plan(bench, f"r-{number}")
    first, second = take(bench), take(bench)
    end(bench, first, wait_ms=0, hold_ms=30_000)
    end(bench, second, wait_ms=0, hold_ms=1000)
    assert 28 < take(bench) <= 30


@pytest.mark.parametrize(
    "planned", [{"number": 12}, {"life_ms": -1}], ids=["asked often enough", "fifteen minutes are over"]
)
def test_it_is_given_up_in_the_end(bench, planned):
    plan(bench, **planned)
    assert take(bench) == 0
    assert take(bench) is None
    assert count(bench, "given_up") == 1


@pytest.mark.parametrize("note", ["", "junk", "[]", "5", '{"number": "x"}', '{"number": 1}'])
def test_a_damaged_note_is_given_up_and_stops_nobody(bench, note):
    plan(bench, "good")
    plan(bench, "bad", due_in_ms=-1000)
    bench.client.hset(bench.keys.poll_notes, "bad", note)
    assert take(bench) == 0
    assert take(bench).request_id == "good"


def test_what_came_of_it_is_counted(bench):
    plan(bench)
    end(bench, take(bench))
    assert count(bench, "told") == 1


# ── which requests are asked about ────────────────────────────────────────────────────────────────────────


def answered(bench, claim, answer, *, state=State.SUBMITTED, reason=Reason.ACCEPTED_BY_PLATFORM):
    bench.end(claim, state=state, reason=reason, answer_json=json.dumps(answer))
    return bench.client.zrange(bench.keys.polls, 0, -1, withscores=True)


def test_an_answer_with_a_request_id_is_asked_about_from_two_seconds_later(bench, sending):
    ((request_id, due_ms),) = answered(bench, sending, {"message": "queued", "request_id": "r-7"})
    assert request_id == "r-7"
    assert 1000 < due_ms - redis_ms(bench) <= 2000
    note = json.loads(bench.client.hget(bench.keys.poll_notes, "r-7"))
    assert (note["call_id"], note["number"]) == (sending.call_id, 0)


def test_a_409_names_the_request_that_is_running(bench, sending):
    answer = {"error": "transfer_in_progress", "request_id": "r-8"}
    planned = answered(bench, sending, answer, state=State.REJECTED, reason=Reason.TRANSFER_IN_PROGRESS)
    assert [request_id for request_id, _ in planned] == ["r-8"]


def test_a_request_is_planned_once(bench, sending):
    plan(bench, "r-7", due_in_ms=500, number=3)
    ((_, due_ms),) = answered(bench, sending, {"request_id": "r-7"})
    assert due_ms - redis_ms(bench) <= 500


@pytest.mark.parametrize(
    "answer",
    [{"message": "queued"}, {"request_id": ""}, {"request_id": "a b"}, {"request_id": "x" * 129},
     {"request_id": {}}, {"request_id": None}, {"request_id": "*next_ms"}, ["request_id"], "request_id", 5],
    ids=str,
)  # fmt: skip
def test_what_is_no_request_id_is_asked_about_by_nobody(bench, sending, answer):
    assert answered(bench, sending, answer) == []


def test_an_answer_that_comes_twice_plans_once(bench, sending):
    for _ in range(2):
        planned = answered(bench, sending, {"request_id": "r-7"})
    assert len(planned) == 1
