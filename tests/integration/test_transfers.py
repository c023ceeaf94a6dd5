"""Transfers through the whole system: a real Redis, a real worker process, the sandbox as the judge of POSTs.

One cluster serves the whole module, so that its last tests can look at all that a run has left behind: every
line of the log, every key.
"""

from __future__ import annotations

import json
import signal
import time
import uuid
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from support import wait_until
from support.cluster import make_intent
from support.leftovers import CHECKS, wait_for_the_end
from support.running import Running, open_running
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.publisher import TransferHandle

AGENT_ID = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"
PHONE = {"type": "pstn", "number": "12025550100"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with open_running(tmp_path_factory.mktemp("transfers")) as running:
        yield running


# --- what machines read


def test_each_audit_line_names_the_trace_its_publisher_gave_and_the_program_and_how_bad_it_is(running):
    trace = "00-12345678901234567890123456789012-1234567890123456-01"
    outcome, (post,) = running.send("+1 202 555 0150", correlation_id=trace)
    lines = running.audit_of(outcome.transfer_id)

    assert [(line["event"].removeprefix("transfer."), line["level"]) for line in lines] == [
        ("accepted", "info"),
        ("claimed", "info"),
        ("attempt_started", "info"),
        ("finished", "error"),
    ]
    assert {line["correlation_id"] for line in lines} == {trace}
    assert {(line["service"], line["version"]) for line in lines} == {
        ("call-transfer", version("call-transfer"))
    }
    assert trace not in json.dumps(post), "the platform has no use for it"
    printed = [json.loads(line) for line in running.output().splitlines() if trace in line]
    assert [line["level"] for line in printed] == [line["level"] for line in lines]


# --- what people paste


@pytest.mark.parametrize(
    ("destination", "pipeline"),
    [
        (
            "+1 (202) 555-0100",
            [{"action": "connect", "params": {"caller_id": "12025550199"}, "endpoints": [PHONE]}],
        ),
        (
            "sip:front-desk@sip.example.com",
            [
                {
                    "action": "connect",
                    "params": {"caller_id": "12025550199"},
                    "endpoints": [{"type": "sip", "uri": "sip:front-desk@sip.example.com"}],
                }
            ],
        ),
        (
            f"agent:{AGENT_ID}",
            [
                {
                    "action": "connect",
                    "params": {"caller_id": "12025550199"},
                    "endpoints": [{"type": "agent", "id": AGENT_ID}],
                }
            ],
        ),
        (
            [
                {"action": "play", "file_name": "hold.wav"},
                {
                    "action": "connect",
                    "params": {"from": "+1 (202) 555-0108"},
                    "endpoints": [{"type": "pstn", "number": "+12025550100"}],
                },
            ],
            [
                {"action": "play", "file_name": "hold.wav"},
                {"action": "connect", "params": {"caller_id": "12025550108"}, "endpoints": [PHONE]},
            ],
        ),
        (
            "support",
            [
                {
                    "action": "connect",
                    "params": {
                        "caller_id": "12025550107",
                        "strategy": "sequential",
                        "options": {"ring_timeout_sec": 20},
                    },
                    "endpoints": [
                        {"type": "pstn", "number": "12025550145"},
                        {"type": "pstn", "number": "12025550146"},
                    ],
                }
            ],
        ),
    ],
    ids=["phone", "sip", "agent", "pipeline", "name"],
)
def test_every_kind_of_destination_is_one_request_that_the_vendors_validator_takes(
    running, destination, pipeline
):
    outcome, posts = running.send(destination)
    assert (outcome.state, outcome.reason) == (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM)
    (post,) = posts
    assert (post["pipeline"], post["authorized"], post["status"]) == (pipeline, True, 200)


def test_the_key_reaches_the_platform_and_its_whole_answer_is_on_record(running):
    intent = make_intent(idempotency_key="order/1")
    handle = running.publisher.submit(intent)
    outcome = handle.outcome()
    (post,) = running.sandbox.requests(intent.call_id)
    assert post["idempotency_key"] == handle.idempotency_key == "order/1"
    record = running.record(outcome.transfer_id)
    (note,) = record.attempt_notes
    assert json.loads(note["answer"]) == {"message": "queued"}
    assert note["attempt_ms"] >= 0
    assert record.outcome == outcome


# --- how the platform answers


ENDINGS = {
    "12025550100": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 1),
    "12025550101": (State.UNKNOWN, Reason.ANSWER_LOST, 1),  # slower than an attempt may take
    "12025550102": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 1),
    "12025550103": (State.REJECTED, Reason.UNAUTHORIZED, 1),
    "12025550104": (State.REJECTED, Reason.CALL_NOT_FOUND, 1),
    "12025550105": (State.REJECTED, Reason.CALL_NOT_FOUND, 1),
    "12025550109": (State.REJECTED, Reason.TRANSFER_IN_PROGRESS, 1),
    "12025550110": (State.REJECTED, Reason.REFUSED_BY_PLATFORM, 1),
    "12025550111": (State.REJECTED, Reason.UNAUTHORIZED, 1),
    "12025550122": (State.REJECTED, Reason.REFUSED_BY_PLATFORM, 1),
    "12025550128": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 2),
    "12025550129": (State.FAILED, Reason.RATE_LIMITED, 3),
    "12025550150": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550152": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550153": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 2),
    "12025550154": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550155": (State.FAILED, Reason.PLATFORM_UNAVAILABLE, 5),
    "12025550156": (State.SUBMITTED, Reason.ACCEPTED_BY_PLATFORM, 2),
    "12025550157": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550158": (State.UNKNOWN, Reason.SERVER_ERROR, 1),
    "12025550160": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550161": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550162": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550163": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550164": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550165": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550166": (State.UNKNOWN, Reason.ANSWER_LOST, 1),
    "12025550170": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550171": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550172": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550173": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550174": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
    "12025550175": (State.UNKNOWN, Reason.ANSWER_UNREADABLE, 1),
}
# Three requests a second apart: the fourth would come after the deadline.
EXPIRES = {"12025550129": 2.8}


@pytest.fixture(scope="module")
def asked(running: Running) -> dict[str, TransferHandle]:
    """All the magic numbers, asked for at once."""
    for number in ENDINGS:
        intent = make_intent(f"+{number}", expires_in_seconds=EXPIRES.get(number, 20))
        running.handles[number] = running.publisher.submit(intent)
    return running.handles


@pytest.mark.parametrize("number", ENDINGS)
def test_each_answer_of_the_platform_has_its_outcome_and_its_number_of_requests(running, asked, number):
    state, reason, post_count = ENDINGS[number]
    outcome = asked[number].outcome()
    assert (outcome.state, outcome.reason, outcome.attempts) == (state, reason, post_count)
    posts = running.sandbox.requests(outcome.call_id)
    assert len(posts) == post_count
    if posts[-1]["status"] is not None and reason is not Reason.ANSWER_LOST:
        assert outcome.http_status == posts[-1]["status"]
    carried_out = sum(post["carried_out"] for post in posts)
    assert carried_out <= 1
    if state is not State.UNKNOWN:
        assert carried_out == (state is State.SUBMITTED)


def test_a_409_after_a_request_that_was_sent_is_unknown_with_the_running_request_on_record(running):
    intent = make_intent()
    running.sandbox.controls.script(intent.call_id, ["503", "409"])
    outcome = running.publisher.submit(intent).outcome()
    assert (outcome.state, outcome.reason) == (State.UNKNOWN, Reason.IN_PROGRESS_AFTER_ATTEMPT)
    assert (outcome.attempts, outcome.http_status) == (2, 409)
    last = running.record(outcome.transfer_id).attempt_notes[-1]
    assert json.loads(last["answer"])["request_id"] == "sandbox-409"
    assert "sandbox-409" in outcome.detail


@pytest.mark.parametrize("number", ["12025550128", "12025550156", "12025550129"])
def test_retry_after_is_obeyed(running, asked, number):
    outcome = asked[number].outcome()
    times = [post["received_at_ms"] for post in running.sandbox.requests(outcome.call_id)]
    assert len(times) > 1
    assert all(later - earlier >= 1000 for earlier, later in pairwise(times))


def test_without_retry_after_the_first_wait_is_at_most_200_ms(running, asked):
    outcome = asked["12025550153"].outcome()
    first, second = (post["received_at_ms"] for post in running.sandbox.requests(outcome.call_id))
    assert second - first < 200 + 150


# --- the rules, again at the worker


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("nowhere", Reason.UNKNOWN_DESTINATION),
        ("+44 20 7946 0018", Reason.DESTINATION_NOT_ALLOWED),
        ("sip:x@elsewhere.example.com", Reason.DESTINATION_NOT_ALLOWED),
    ],
)
def test_what_the_rules_forbid_never_reaches_the_platform(running, destination, reason):
    outcome, posts = running.send(destination)
    assert (outcome.state, outcome.reason, outcome.attempts, posts) == (State.REJECTED, reason, 0, [])


# --- repeats, cancels, deadlines


def test_asking_again_moves_the_call_once(running):
    intent = make_intent()
    handles = [running.publisher.submit(make_intent(call_id=intent.call_id)) for _ in range(5)]
    outcomes = {handle.outcome() for handle in handles}
    handles.append(running.publisher.submit(make_intent(call_id=intent.call_id)))
    assert len(outcomes) == 1
    assert [handle.is_repeat for handle in handles] == [False] + [True] * 5
    assert running.sandbox.post_count(intent.call_id) == 1


def test_the_same_message_twice_moves_the_call_once(running):
    intent = make_intent()
    asked_for = {"call_id": intent.call_id, "destination": "+12025550100"}
    transfer_ids = {running.send_task(asked_for, task_id=intent.transfer_id) for _ in range(5)}
    assert transfer_ids == {intent.transfer_id}
    assert running.wait_for_record(intent.transfer_id).state is State.SUBMITTED
    wait_until(lambda: running.cluster.ledger().client.hlen("transfer:unacked") == 0)
    assert running.sandbox.post_count(intent.call_id) == 1


def test_a_second_hop_is_another_request_with_another_key(running):
    call_id = str(uuid.uuid4())
    first, _ = running.send("+12025550100", call_id=call_id)
    second, posts = running.send("support", call_id=call_id)
    assert (first.hop, second.hop) == (1, 2)
    assert [post["idempotency_key"] for post in posts] == [f"{call_id}:1", f"{call_id}:2"]


def test_cancelled_while_it_waits_for_the_next_attempt_nothing_more_is_sent(running):
    intent = make_intent("+12025550129")
    handle = running.publisher.submit(intent)
    wait_until(lambda: running.sandbox.post_count(intent.call_id) == 1)
    wait_until(lambda: running.record(handle.transfer_id).state is State.CLAIMED)
    assert handle.cancel()
    assert handle.outcome().state is State.CANCELLED
    finished = [line["event"] for line in running.audit_of(handle.transfer_id)]
    assert finished.count("transfer.finished") == 1
    time.sleep(1.2)  # the wait that the platform asked for, in which the cancelled attempt would have come
    assert running.sandbox.post_count(intent.call_id) == 1


def test_what_is_cancelled_or_late_before_a_worker_is_there_is_never_sent(running):
    """On a queue of its own, whose worker comes when all is over."""
    settings = PublisherSettings(redis_url=running.cluster.redis_url, queue="later")
    with TransferPublisher(settings) as publisher:
        cancelled, late = make_intent(), make_intent(expires_in_seconds=1)
        first, second = publisher.submit(cancelled), publisher.submit(late)
        assert first.cancel()
        assert second.outcome().state is State.EXPIRED
        good = publisher.submit(make_intent())
        late_worker = running.cluster.start_worker(TRANSFER_QUEUE="later")
        running.other_workers.append(late_worker)
        assert good.outcome().state is State.SUBMITTED
        late_worker.send_signal(signal.SIGTERM)
        late_worker.wait()
    assert running.sandbox.post_count(cancelled.call_id) == running.sandbox.post_count(late.call_id) == 0


# --- last: what the whole run has left behind


@pytest.fixture(scope="module")
def everything(running: Running, asked: dict[str, TransferHandle]) -> Running:
    for handle in asked.values():
        handle.outcome()
    wait_for_the_end(running)
    finished = [line for line in running.audit_file() if line["event"] == "transfer.finished"]
    assert len(finished) > len(ENDINGS)
    return running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_the_run_has_left_behind(everything, check):
    check(everything)
