"""Two requests that may both have moved a call: exactly those are counted, each once, and named.

A worker that stands still is given up, and its answer comes late: one request. It takes wrong evidence, or
a Redis that forgot a step, to make two.
"""

from __future__ import annotations

import uuid

import pytest

from support.ledger_bench import LedgerBench, disbelieve, finish, move_twice, start
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.present import read_present


def doubles(bench: LedgerBench) -> list[tuple[str, str]]:
    """Return the pairs that are kept; each was counted once and has its line."""
    present = read_present(bench.ledger)
    pairs = [double.transfers for double in reversed(present.double_posts)]
    lines = [line for line in bench.audit() if line["event"] == "call.moved_twice"]
    assert [(line["other_transfer_id"], line["transfer_id"]) for line in lines] == pairs
    assert present.totals["double_posts"] == len(pairs)
    assert {double.call_id for double in present.double_posts} <= {line["call_id"] for line in lines}
    return pairs


def give_up(bench: LedgerBench, claim: Claim) -> None:
    """Let its worker be taken for dead while the request is out."""
    bench.bury()
    bench.recover()
    assert bench.record(claim.transfer_id).state is State.UNKNOWN


@pytest.fixture
def call_id() -> str:
    return str(uuid.uuid4())


def test_the_late_answer_of_a_worker_that_stood_still_is_one_request(bench, call_id):
    claim = start(bench, call_id=call_id)
    give_up(bench, claim)
    bench.end(claim)
    bench.end(claim)
    assert bench.record(claim.transfer_id).state is State.SUBMITTED
    assert doubles(bench) == []


def test_a_late_answer_against_the_evidence_is_one_request_too(bench, call_id):
    bench.end(disbelieve(bench, call_id=call_id))
    assert doubles(bench) == []


@pytest.mark.parametrize(
    ("state", "reason", "is_double"),
    [
        (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, True),
        (State.UNKNOWN, Reason.ANSWER_LOST, True),
        (State.UNKNOWN, Reason.IN_PROGRESS_AFTER_ATTEMPT, False),
        (State.REJECTED, Reason.CALL_NOT_FOUND, False),
        (State.FAILED, Reason.PLATFORM_UNREACHABLE, False),
    ],
)
@pytest.mark.parametrize("order", ["late answer last", "late answer meanwhile"])
def test_the_next_transfer_counts_by_what_became_of_its_own_request(
    bench, call_id, state, reason, is_double, order
):
    first = disbelieve(bench, call_id=call_id)
    second = start(bench, call_id=call_id)
    if order == "late answer meanwhile":
        bench.end(first)
        assert doubles(bench) == [], "nobody knows yet what its request did"
    for _ in range(2):
        bench.end(second, state, reason)
    for _ in range(2):
        bench.end(first)
    assert doubles(bench) == [(first.transfer_id, second.transfer_id)] * is_double


@pytest.mark.parametrize("order", ["before its claim", "after its claim", "between two attempts"])
def test_a_next_transfer_that_is_not_out_yet_is_not_sent_after_the_late_answer(bench, call_id, order):
    first = disbelieve(bench, call_id=call_id)
    second = bench.accept(call_id=call_id, destination="billing").transfer_id
    if order == "before its claim":
        bench.end(first)
        seen = bench.claim_and_begin(second)
    else:
        claim = bench.claim(second)
        if order == "between two attempts":
            bench.begin(claim)
            bench.retry(claim)
        bench.end(first)
        seen = bench.begin(claim, attempt=2 if order == "between two attempts" else 1)
    outcome = seen.outcome
    assert (outcome.state, outcome.reason) == (State.REJECTED, Reason.TRANSFER_IN_PROGRESS)
    assert outcome.detail == f"transfer {first.transfer_id} has moved the call: its answer came late"
    assert not bench.index("waiting") | bench.index("in_flight")
    assert doubles(bench) == []


def test_two_late_answers_of_one_call_are_one_double(bench, call_id):
    first, second = disbelieve(bench, call_id=call_id), disbelieve(bench, call_id=call_id)
    bench.end(first)
    assert doubles(bench) == []
    bench.end(second)
    assert doubles(bench) == [(first.transfer_id, second.transfer_id)]


def test_two_late_answers_the_other_way_round_are_one_double(bench, call_id):
    first, second = disbelieve(bench, call_id=call_id), disbelieve(bench, call_id=call_id)
    bench.end(second)
    bench.end(first)
    assert doubles(bench) == [(first.transfer_id, second.transfer_id)]


def test_who_asks_again_after_a_transfer_means_to_move_the_call_again(bench, call_id):
    first = disbelieve(bench, call_id=call_id)
    second = finish(bench, call_id=call_id)
    finish(bench, call_id=call_id, destination="billing")
    bench.end(first)
    assert doubles(bench) == [(first.transfer_id, second)]


def test_a_transfer_that_came_before_the_late_one_is_none_of_it(bench, call_id):
    finish(bench, call_id=call_id, destination="billing")
    bench.end(disbelieve(bench, call_id=call_id))
    assert doubles(bench) == []


@pytest.fixture
def forgotten(bench, call_id) -> tuple[Claim, Claim]:
    """As after a failover to a replica that had not heard of the request: two hold claims, one has sent."""
    stale = start(bench, call_id=call_id)
    bench.client.hset(bench.keys.record(stale.transfer_id), "state", "claimed")
    bench.bury()
    bench.recover()
    holder = bench.claim(stale.transfer_id, worker="w2")
    assert isinstance(holder, Claim)
    return stale, holder


@pytest.mark.parametrize("late", [State.SUBMITTED, State.UNKNOWN])
@pytest.mark.parametrize("order", ["before it is sent again", "while it is sent again", "after"])
def test_where_redis_forgot_a_request_the_second_one_counts_once(bench, forgotten, late, order):
    stale, holder = forgotten

    def answer_late() -> None:
        for _ in range(2):  # a worker repeats a step whose reply was lost
            bench.end(stale, late)

    if order == "before it is sent again":
        answer_late()
    bench.begin(holder)
    if order == "while it is sent again":
        answer_late()
    assert doubles(bench) == []
    bench.end(holder)
    if order == "after":
        answer_late()
    assert doubles(bench) == [(stale.transfer_id, stale.transfer_id)]


@pytest.mark.parametrize("order", ["while it is sent again", "after"])
def test_where_the_second_request_moved_nothing_there_is_no_double(bench, forgotten, order):
    stale, holder = forgotten
    bench.begin(holder)
    if order == "while it is sent again":
        bench.end(stale)
    bench.end(holder, State.REJECTED, Reason.CALL_NOT_FOUND)
    if order == "after":
        bench.end(stale)
    assert doubles(bench) == []


def test_a_late_answer_to_an_old_token_that_says_no_is_no_double(bench, forgotten):
    stale, holder = forgotten
    bench.begin(holder)
    bench.end(stale, State.REJECTED, Reason.CALL_NOT_FOUND)
    bench.end(holder)
    assert doubles(bench) == []


def test_a_record_that_is_gone_is_not_brought_back(bench, call_id):
    first = disbelieve(bench, call_id=call_id)
    second = finish(bench, call_id=call_id)
    bench.client.delete(bench.keys.record(second))
    bench.end(first)
    assert bench.client.exists(bench.keys.record(second)) == 0


def acknowledge(bench: LedgerBench, call_id: str) -> int:
    commands = OperatorCommands(namespace="transfer", retention_seconds=1000)
    return bench.run(commands.acknowledge(call_id, operator="ana", reason="they spoke to both"))


def test_an_acknowledgement_takes_the_call_from_the_list_and_says_by_whom(bench, call_id):
    move_twice(bench, call_id=call_id)
    move_twice(bench, call_id=(other := str(uuid.uuid4())))
    assert acknowledge(bench, call_id) == 1
    assert acknowledge(bench, call_id) == 0
    (left,) = read_present(bench.ledger).double_posts
    assert left.call_id == other
    assert read_present(bench.ledger).totals["double_posts"] == 2
    (line,) = [line for line in bench.audit() if line["event"] == "call.acknowledged"]
    assert (line["call_id"], line["operator"], line["detail"]) == (call_id, "ana", "they spoke to both")
    assert line["transfer_id"] != line["other_transfer_id"]


def test_the_list_is_bounded_and_the_total_is_not(bench):
    calls = [str(uuid.uuid4()) for _ in range(101)]
    for call_id in calls:
        move_twice(bench, call_id=call_id)
    present = read_present(bench.ledger)
    assert [double.call_id for double in present.double_posts] == calls[:0:-1]
    assert present.totals["double_posts"] == 101


def test_none_is_forgotten_while_a_worker_lives(bench, call_id):
    move_twice(bench, call_id=call_id)
    bench.client.expire(bench.keys.double_posts, 5)
    bench.heartbeat()
    assert bench.client.ttl(bench.keys.double_posts) > 900
