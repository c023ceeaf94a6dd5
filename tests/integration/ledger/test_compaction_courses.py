"""A compacted record answers every later step as the whole one does.

Each course is taken twice: some steps, a day, and some more. In one ledger the sweep compacts after that day,
in the other it does not. Compared are all replies, all audit lines, and what the records say at last.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, event, example, given, settings

from support.ledger_course import Course, mask_times
from support.passing_days import compact_everything, let_a_day_pass, point_at
from transfer_tasks.connection import ConnectionStatus, ReportSource
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect

CALLS = ("call-1", "call-2")
ENDINGS = (
    (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM),
    (State.REJECTED, Reason.CALL_NOT_FOUND),
    (State.REJECTED, Reason.TRANSFER_IN_PROGRESS),
    (State.FAILED, Reason.PLATFORM_UNREACHABLE),
    (State.FAILED, Reason.PLATFORM_UNAVAILABLE),
    (State.UNKNOWN, Reason.ANSWER_LOST),
    (State.CLAIMED, Reason.PLATFORM_UNAVAILABLE),
    (State.CLAIMED, Reason.PLATFORM_UNREACHABLE),
)
TIMES = ("accepted_ms", "expires_ms", "begun_ms", "claimed_ms", "ended_ms", "requeued_ms")

which = st.integers(0, 5)
requests = st.sampled_from(["", "r-1", "r-2"])
asks = st.tuples(
    st.just("ask"),
    st.sampled_from(CALLS),
    st.sampled_from(["support", "sales"]),
    st.sampled_from(["", "", "key-1", "call-1:1"]),
    st.sampled_from([0, 30_000, 10**9]),
)
sends = st.tuples(st.just("send"), which, st.sampled_from([None, *ENDINGS]), requests)
late_ends = st.tuples(st.just("end"), which, st.sampled_from(ENDINGS), requests)
reports = st.tuples(
    st.just("report"),
    st.sampled_from(["", *CALLS]),
    requests,
    st.sampled_from([None, None, 0, 1, 2]),
    st.sampled_from(ConnectionStatus),
    st.sampled_from(ReportSource),
    st.sampled_from([0, 1000, 200_000]),
    st.sampled_from([None, 0, 2, 5]),
)
steps = st.one_of(
    asks,
    sends,
    sends,
    late_ends,
    reports,
    st.tuples(st.just("lose")),
    st.tuples(st.just("settle"), which, st.booleans()),
    st.tuples(st.sampled_from(["again", "as_other", "cancel", "expire", "refuse", "claim", "begin"]), which),
    st.tuples(st.just("after"), st.sampled_from(CALLS), which),
)
lives = st.tuples(
    st.just("live"), asks, st.lists(st.sampled_from(ENDINGS), max_size=3), requests, st.booleans()
)
first_steps = st.one_of(lives, lives, lives, steps)
late_steps = st.one_of(steps, st.tuples(st.just("erase"), st.sampled_from(CALLS)))


def take_course(client: Any, first: list[Any], then: list[Any], *, now: datetime, is_compacted: bool) -> Any:
    """Take a course in a ledger of its own; return what was said, and what is left."""
    course = Course(client, f"course-{uuid.uuid4().hex}", now)
    said = [course.take(step) for step in first]
    let_a_day_pass(course.bench, of=TIMES)
    if is_compacted:
        compact_everything(course.bench)
        for _, held in course.records():
            is_over = held["state"] not in {"waiting", "claimed", "sending", "unknown"}
            assert ("compacted" in held) == is_over
            assert ("intent" in held) != is_over
            event(f"{held['state']}, {held.get('reason')}: compacted {is_over}")
    point_at(course.bench, 10**9)
    said += [course.take(step) for step in then]
    left = course.left()
    client.delete(course.bench.queue, *client.keys(f"{course.bench.keys.namespace}:*"))
    return [mask_times(repr(each)) for each in said], left


ASK = ("ask", "call-1", "support", "", 0)


@pytest.fixture(scope="module")
def client(redis_server):
    with connect(redis_server.url, timeout_seconds=30) as client:
        yield client


@pytest.mark.timeout(600)
@given(
    first=st.lists(first_steps, min_size=1, max_size=8), then=st.lists(late_steps, min_size=3, max_size=10)
)
@settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# An answer after evidence, and a report of a day before, which was of another request.
@example(
    first=[ASK, ("send", 0, None, ""), ("lose",), ("settle", 0, False)],
    then=[
        ("end", 0, ENDINGS[0], ""),
        ("report", "call-1", "r-1", None, ConnectionStatus.CONNECTED, ReportSource.ROOM, 0, 5),
    ],
)
# A 409 after an attempt that was proven not carried out, and after one that was not.
@example(first=[ASK, ("send", 0, ENDINGS[1], "")], then=[ASK, ("send", 1, ENDINGS[2], "")])
@example(first=[ASK, ("send", 0, ENDINGS[4], "")], then=[ASK, ("send", 1, ENDINGS[2], "")])
# What rings on for more than a day.
@example(
    first=[
        ASK,
        ("send", 0, ENDINGS[0], "r-1"),
        ("report", "", "r-1", None, ConnectionStatus.RINGING, ReportSource.ROOM, 200_000, None),
    ],
    then=[ASK, ("ask", "call-1", "sales", "", 0), ("again", 0), ("as_other", 0), ("after", "call-1", 0)],
)
def test_a_compacted_record_answers_as_the_whole_one(client, first, then):
    now = datetime.now(UTC)
    whole, compacted = (
        take_course(client, first, then, now=now, is_compacted=each) for each in (False, True)
    )
    assert compacted[0] == whole[0]
    assert compacted[1]["records"] == whole[1]["records"]
    assert compacted[1]["lines"] == whole[1]["lines"]
    assert compacted[1]["indexes"] == whole[1]["indexes"]
