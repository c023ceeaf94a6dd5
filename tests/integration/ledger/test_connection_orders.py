"""Reports in every order, lost, doubled and mixed with those of other requests: one verdict each.

Two transfers of one call have ended at the platform, each in its own way. What its sources say of them,
and of a request of somebody else's, comes in any order, around the end of the second one's attempt.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from support.ledger_bench import LedgerBench, start
from transfer_tasks.connection import ConnectionReason, ConnectionStatus, ReportSource, ReportVerdict
from transfer_tasks.ledger.verdicts import Begun
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect

PLATFORM = ["room", "platform_api", "webhook"]
FINALS = [("connected", "")] + [
    ("not_connected", reason.value)
    for reason in ConnectionReason
    if reason is not ConnectionReason.CALLER_GONE
]

often = settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def client(redis_url: str):
    with connect(redis_url, timeout_seconds=30) as client:
        yield client


@dataclass(frozen=True)
class Said:
    """One report of one request."""

    request_id: str
    status: str
    reason: str
    source: str


@st.composite
def truths(draw, request_id: str):
    """What really became of a request, and what sources say of it: some of it once, some of it often."""
    status, reason = draw(st.sampled_from(FINALS))
    words = [("queued", ""), ("ringing", ""), (status, reason)]
    told = [Said(request_id, *word, source) for word in words for source in PLATFORM]
    heard = draw(st.lists(st.sampled_from(told), max_size=8))
    return (status, reason), heard


def fact(bench: LedgerBench, transfer_id: str) -> tuple[str, str] | None:
    connection = bench.record(transfer_id).connection
    if connection is None or not connection.status.is_final:
        return None
    return connection.status.value, connection.reason.value if connection.reason else ""


def new_bench(client) -> LedgerBench:
    name = uuid.uuid4().hex
    return LedgerBench(client, namespace=f"orders-{name}", queue=f"queue-{name}")


def clean(bench: LedgerBench) -> None:
    bench.client.delete(bench.queue, *bench.client.keys(f"{bench.keys.namespace}:*"))


def say(bench: LedgerBench, said: Said):
    return bench.report(said.status, "call", said.request_id, source=said.source, reason=said.reason)


def finals_of(heard: list[Said]) -> bool:
    return any(ConnectionStatus(said.status).is_final for said in heard)


@often
@given(
    first=truths("r-1"),
    second=truths("r-2"),
    of_others=truths("r-of-others"),
    answers=st.sampled_from(["named", "lost", "again"]),
    data=st.data(),
)
def test_each_transfer_gets_the_verdict_that_is_true_of_it_in_whatever_order(
    client, first, second, of_others, answers, data
):
    """Wherever anything true arrived whose request is known. What can't be told apart is never guessed."""
    bench = new_bench(client)
    one = start(bench, call_id="call", destination="support")
    bench.end(one, answer_json=json.dumps({"request_id": "r-1"}))
    two = start(bench, call_id="call", destination="sales")
    steps: dict[str, list] = {
        "named": [partial(bench.end, two, answer_json=json.dumps({"request_id": "r-2"}))],
        "lost": [partial(bench.lose_answer, two)],
        "again": [partial(bench.retry, two)],
    }
    heard = [*first[1], *second[1]] + (of_others[1] if answers == "named" else [])
    reports = [partial(say, bench, said) for said in heard]
    for step in data.draw(st.permutations([*reports, *steps[answers]])):
        step()

    try:
        assert fact(bench, one.transfer_id) == (first[0] if finals_of(first[1]) else None)
        if answers == "named":
            assert fact(bench, two.transfer_id) == (second[0] if finals_of(second[1]) else None)
        else:
            assert fact(bench, two.transfer_id) in {None, second[0]}
        record = bench.record(two.transfer_id)
        if record.request_id:
            assert record.state is State.SUBMITTED
            assert not isinstance(bench.begin(two, attempt=2), Begun), "a POST after the platform had it"
        assert record.attempts == 1
    finally:
        clean(bench)


WORDS = [
    Said("r-1", "queued", "", "platform_api"),
    Said("r-1", "ringing", "", "room"),
    Said("r-1", "not_connected", "", "webhook"),
    Said("r-1", "not_connected", "no_answer", "room"),
]


@pytest.mark.parametrize("step", ["lose_answer", "retry", "end", "die"])
def test_every_order_of_one_requests_reports_and_the_end_of_its_attempt_ends_the_same(client, step):
    bench = new_bench(client)
    ends = set()
    for number, order in enumerate(permutations([*WORDS, None])):
        call, request = f"call-{number}", f"r-{number}"
        claim = start(bench, call_id=call)
        for said in order:
            if said is None:
                end(bench, claim, step)
            else:
                bench.report(said.status, call, request, source=said.source, reason=said.reason)
        record = bench.record(claim.transfer_id)
        ends.add((record.state, record.connection.status, record.connection.reason))
        assert record.request_id == request
        assert record.connection.ringing_at_ms > 0
        assert not isinstance(bench.begin(claim, attempt=2), Begun)
    clean(bench)
    assert ends == {(State.SUBMITTED, ConnectionStatus.NOT_CONNECTED, ConnectionReason.NO_ANSWER)}


def end(bench: LedgerBench, claim, step: str) -> None:
    if step == "die":
        bench.bury()
        bench.recover()
    else:
        getattr(bench, step)(claim)


@often
@given(
    finals=st.lists(
        st.tuples(st.sampled_from(FINALS), st.sampled_from(list(ReportSource))), min_size=1, max_size=8
    )
)
def test_the_first_final_stands_whoever_contradicts_it(client, finals):
    bench = new_bench(client)
    claim = start(bench, call_id="call")
    bench.end(claim, State.UNKNOWN, Reason.ANSWER_LOST)
    (first, _), seen = finals[0][0], set()
    for (status, reason), source in finals:
        result = bench.report(status, source=source, reason=reason, transfer_id=claim.transfer_id)
        is_new = status != first and (status, source) not in seen
        assert (result.verdict is ReportVerdict.CONTRADICTION) == is_new
        if status != first:
            seen.add((status, source))

    connection = bench.record(claim.transfer_id).connection
    clean(bench)
    assert connection.status == first
    assert len(connection.contradictions) == min(len(seen), 5)
