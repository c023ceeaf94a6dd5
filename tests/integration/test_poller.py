"""The platform is asked how accepted requests went: until it says so, as fast as it likes, whoever dies."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from support import wait_until
from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from transfer_tasks.connection import (
    ConnectionReason,
    ConnectionReport,
    ConnectionStatus,
    ReportSource,
    read_platform_words,
)
from transfer_tasks.ledger.verdicts import Claim
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.connection import connect
from transfer_worker.gateway.status import Seen, StatusAnswer, StatusClient
from transfer_worker.runtime import poller as module
from transfer_worker.runtime.poller import MAX_POLLS, WAITS_SECONDS, StatusPoller
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from support.cluster import Cluster
    from transfer_tasks.connection import Connection
    from transfer_tasks.publisher import TransferPublisher


class Lines:
    def __init__(self) -> None:
        self.events: list[str] = []

    def info(self, event: str, **_: object) -> None:
        self.events.append(event)

    def warning(self, event: str, **fields: object) -> None:
        self.events.append(f"{event} {fields['seen']}")


class ScriptedClient:
    """Answers from a list, the last one for ever."""

    def __init__(self, *answers: StatusAnswer) -> None:
        self.answers, self.asked = list(answers), []

    def ask(self, request_id: str, *, call_id: str) -> StatusAnswer:
        self.asked.append((request_id, call_id))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self) -> None:
        pass


@pytest.fixture
def bench(redis_url):
    with connect(redis_url, timeout_seconds=30) as client:
        yield LedgerBench(client)


@pytest.fixture
def sandbox():
    with SandboxServer() as server:
        yield server


@pytest.fixture
def client(sandbox):
    made = StatusClient(token=sandbox.token, base_url=sandbox.url, timeout_seconds=30)
    yield made
    made.close()


def submit(
    bench, request_id: str, *, state=State.SUBMITTED, reason=Reason.ACCEPTED_BY_PLATFORM, call_id=None
) -> str:
    """Have a transfer end with an answer that names a request, and be due to be asked about."""
    transfer_id = bench.accept(call_id=call_id).transfer_id
    claim = bench.claim(transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    bench.end(claim, state, reason, answer_json=json.dumps({"message": "queued", "request_id": request_id}))
    make_due(bench)
    return transfer_id


def make_due(bench) -> None:
    for request_id in bench.client.zrange(bench.keys.polls, 0, -1):
        bench.client.zadd(bench.keys.polls, {request_id: 1})
    bench.client.hdel(bench.keys.poll_notes, "*next_ms")


def connection_of(bench, transfer_id: str) -> Connection | None:
    return bench.ledger.read(transfer_id).connection


def planned(bench) -> list[str]:
    return bench.client.zrange(bench.keys.polls, 0, -1)


def answer(seen: Seen, **fields: object) -> StatusAnswer:
    return StatusAnswer(seen=seen, **fields)


@pytest.mark.parametrize(
    ("course", "status", "reason"),
    [
        (["connected"], ConnectionStatus.CONNECTED, None),
        (["busy"], ConnectionStatus.NOT_CONNECTED, ConnectionReason.BUSY),
        (["no_answer_and_call_ended"], ConnectionStatus.NOT_CONNECTED, ConnectionReason.NO_ANSWER),
    ],
)
def test_what_the_platform_says_is_on_record_and_it_is_asked_no_more(
    bench, sandbox, client, course, status, reason
):
    transfer_id, request_id = begin_at_sandbox(bench, sandbox, course)
    wait_until(lambda: sandbox.transfers()[0]["status"] != "queued")
    StatusPoller(bench.ledger, client, log=Lines()).poll_once()
    found = connection_of(bench, transfer_id)
    assert (found.status, found.reason, found.source) == (status, reason, ReportSource.PLATFORM_API)
    assert bench.ledger.read(transfer_id).state is State.SUBMITTED
    assert planned(bench) == []
    assert sandbox.controls.count_asked() == {request_id: 1}
    assert sandbox.post_count() == 0


def begin_at_sandbox(bench, sandbox, course):
    transfer_id = bench.accept().transfer_id
    claim = bench.claim(transfer_id)
    sandbox.controls.set_course(claim.call_id, course)
    bench.begin(claim)
    request_id = sandbox.controls.begin_course(claim.call_id, "")
    bench.end(claim, answer_json=json.dumps({"message": "queued", "request_id": request_id}))
    make_due(bench)
    return transfer_id, request_id


def test_while_it_rings_it_is_asked_again_later(bench, sandbox, client):
    transfer_id, request_id = begin_at_sandbox(bench, sandbox, ["ringing"])
    poller = StatusPoller(bench.ledger, client, log=Lines())
    for _ in range(3):
        poller.poll_once()
    assert sandbox.controls.count_asked() == {request_id: 1}
    assert planned(bench) == [request_id]
    assert connection_of(bench, transfer_id) is None  # queued is not ringing


@pytest.mark.parametrize("seen", sorted(set(Seen) - {Seen.TOLD}))
def test_no_other_answer_settles_anything(bench, seen):
    transfer_id = submit(bench, "r-1")
    before = bench.ledger.read(transfer_id)
    client = ScriptedClient(answer(seen))
    StatusPoller(bench.ledger, client, log=Lines()).poll_once()
    assert bench.ledger.read(transfer_id) == before
    assert planned(bench) == ["r-1"]


def test_it_is_asked_twelve_times_at_most(bench):
    submit(bench, "r-1")
    client = ScriptedClient(answer(Seen.NOT_FOUND))
    poller = StatusPoller(bench.ledger, client, log=Lines())
    for _ in range(MAX_POLLS + 5):
        poller.poll_once()
        make_due(bench)
    assert len(client.asked) == MAX_POLLS == 12
    assert planned(bench) == []


def test_all_the_waits_together_are_less_than_fifteen_minutes():
    assert 800 < 2 + sum(WAITS_SECONDS) < 900


@pytest.mark.parametrize(
    ("said", "least"),
    [
        (answer(Seen.RATE_LIMITED, retry_after_seconds=120.0), 119),
        (answer(Seen.RATE_LIMITED), 29),
        (answer(Seen.SERVER_ERROR, retry_after_seconds=40.0), 39),
        (answer(Seen.UNAUTHORIZED), 59),
        (answer(Seen.RATE_LIMITED, retry_after_seconds=86_400.0), 899),
    ],
)
def test_a_platform_that_wants_rest_gets_it_from_all_workers(bench, said, least):
    for number in range(3):
        submit(bench, f"r-{number}")
    client = ScriptedClient(said)
    for _ in range(3):  # each a worker of its own
        StatusPoller(bench.ledger, client, log=Lines()).poll_once()
    assert len(client.asked) == 1
    seconds, _ = bench.client.time()
    held_for = int(bench.client.hget(bench.keys.poll_notes, "*next_ms")) / 1000 - seconds
    assert least <= held_for + 1
    assert held_for <= 901


def test_many_workers_ask_for_each_once_and_five_a_second_at_most(bench):
    for number in range(8):
        submit(bench, f"r-{number}")
    client = ScriptedClient(answer(Seen.NOT_FOUND))
    began = bench.client.time()
    pollers = [StatusPoller(bench.ledger, client, log=Lines()) for _ in range(4)]
    for poller in pollers:
        poller.start()
        poller.wake()
    wait_until(lambda: len(client.asked) >= 8)
    took = bench.client.time()[0] - began[0]
    for poller in pollers:
        poller.stop(within_seconds=30)
    assert sorted({request_id for request_id, _ in client.asked[:8]}) == [f"r-{n}" for n in range(8)]
    assert took >= 1  # seven gaps of a fifth of a second


def test_a_question_that_nobody_finished_is_asked_by_another_worker(bench, monkeypatch):
    transfer_id = submit(bench, "r-1")
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.001)
    taken = bench.run(bench.commands.take_poll(lease_ms=1, pace_ms=0, max_polls=MAX_POLLS))
    assert taken.number == 1  # and is killed
    client = ScriptedClient(answer(Seen.TOLD, words=read_platform_words("completed")))
    poller = StatusPoller(bench.ledger, client, log=Lines())
    wait_until(lambda: poller.poll_once() is not None and client.asked)
    assert connection_of(bench, transfer_id).status is ConnectionStatus.CONNECTED


def test_queued_is_proof_that_an_unknown_was_accepted(bench):
    lost = bench.accept()
    claim = bench.claim(lost.transfer_id)
    bench.begin(claim)
    bench.end(claim, State.UNKNOWN, Reason.SERVER_ERROR, answer_json=json.dumps({"request_id": "r-9"}))
    make_due(bench)
    client = ScriptedClient(answer(Seen.TOLD, words=read_platform_words("queued")))
    StatusPoller(bench.ledger, client, log=Lines()).poll_once()
    assert bench.ledger.read(lost.transfer_id).state is State.SUBMITTED


def test_trouble_is_told_once_and_so_is_its_end(bench):
    for number in range(4):
        submit(bench, f"r-{number}")
    lines = Lines()
    told = answer(Seen.TOLD, words=read_platform_words("queued"))
    client = ScriptedClient(answer(Seen.UNREACHABLE), answer(Seen.UNREACHABLE), told, told)
    poller = StatusPoller(bench.ledger, client, log=lines)
    for _ in range(4):
        poller.poll_once()
        bench.client.hdel(bench.keys.poll_notes, "*next_ms")
    assert lines.events == ["poller.not_answered unreachable", "poller.works_again"]


def test_redis_away_ends_no_poller(private_redis):
    with connect(private_redis.url, timeout_seconds=5) as client:
        bench, lines = LedgerBench(client), Lines()
        poller = StatusPoller(bench.ledger, ScriptedClient(answer(Seen.NOT_FOUND)), log=lines)
        private_redis.stop()
        assert poller.poll_once() > 0
    assert lines.events == ["poller.not_answered redis"]


def test_a_poller_that_has_nothing_to_ask_leaves_redis_alone_until_it_is_woken(bench, monkeypatch):
    poller, rounds = StatusPoller(bench.ledger, ScriptedClient(answer(Seen.NOT_FOUND)), log=Lines()), []
    poll_once = poller.poll_once
    monkeypatch.setattr(poller, "poll_once", lambda: rounds.append(poll_once()))
    poller.start()
    poller.wake()
    wait_until(lambda: len(rounds) == 1)
    poller.wake()
    wait_until(lambda: len(rounds) == 2)
    poller.stop(within_seconds=30)
    assert rounds == [None, None]


def test_a_poller_ends_when_it_is_told_to(bench):
    poller = StatusPoller(bench.ledger, ScriptedClient(answer(Seen.NOT_FOUND)), log=Lines())
    poller.start()
    poller.stop(within_seconds=30)
    assert "poller" not in {thread.name for thread in threading.enumerate()}


def test_a_worker_that_is_killed_is_succeeded_in_asking(cluster: Cluster, publisher: TransferPublisher):
    first = cluster.start_worker()
    intent = make_intent("+12025550131")  # rings, then is busy
    handle = publisher.submit(intent)
    assert handle.outcome().state is State.SUBMITTED
    first.send_signal(signal.SIGKILL)
    cluster.start_worker()

    def find_connection():
        return cluster.ledger().read(handle.transfer_id).connection

    wait_until(find_connection, deadline_seconds=60)
    assert (find_connection().status, find_connection().reason) == (
        ConnectionStatus.NOT_CONNECTED,
        ConnectionReason.BUSY,
    )
    assert find_connection().source is ReportSource.PLATFORM_API
    assert cluster.sandbox.post_count(intent.call_id) == 1


def test_what_another_of_the_platforms_sources_has_said_is_not_asked_for(bench):
    transfer_id = submit(bench, "r-1")
    call_id = bench.ledger.read(transfer_id).call_id
    report = ConnectionReport(
        call_id=call_id, request_id="r-1", status=ConnectionStatus.CONNECTED, source=ReportSource.ROOM
    )
    bench.run(bench.commands.report_connection(report))
    client = ScriptedClient(answer(Seen.NOT_FOUND))
    StatusPoller(bench.ledger, client, log=Lines()).poll_once()
    assert (client.asked, planned(bench)) == ([], [])


def test_what_is_only_ringing_is_asked_for(bench):
    transfer_id = submit(bench, "r-1")
    call_id = bench.ledger.read(transfer_id).call_id
    report = ConnectionReport(
        call_id=call_id, request_id="r-1", status=ConnectionStatus.RINGING, source=ReportSource.ROOM
    )
    bench.run(bench.commands.report_connection(report))
    client = ScriptedClient(answer(Seen.NOT_FOUND))
    StatusPoller(bench.ledger, client, log=Lines()).poll_once()
    assert client.asked == [("r-1", call_id)]
