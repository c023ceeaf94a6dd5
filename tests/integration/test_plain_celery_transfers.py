"""Transfers that a producer asks for that only has Celery, through the whole system."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from support import wait_until
from support.cluster import make_intent
from transfer_tasks.errors import TransferInProgress
from transfer_tasks.outcome import Reason, State
from transfer_tasks.publisher.message import TASK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator


from support.leftovers import CHECKS, wait_for_the_end
from support.running import Running, open_running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with open_running(tmp_path_factory.mktemp("plain")) as running:
        yield running


def test_an_intent_from_plain_celery_is_carried_out_under_its_tasks_id(running):
    call_id = str(uuid.uuid4())
    transfer_id = running.send_task({"call_id": call_id.upper(), "destination": "support"})
    record = running.wait_for_record(transfer_id)
    assert (record.state, record.call_id) == (State.SUBMITTED, call_id)
    assert running.sandbox.post_count(call_id) == 1
    assert [line["event"] for line in running.audit_of(transfer_id)] == [
        "transfer.accepted",
        "transfer.claimed",
        "transfer.attempt_started",
        "transfer.finished",
    ]


def test_a_repeat_from_plain_celery_moves_the_call_once(running):
    call_id = str(uuid.uuid4())
    first = running.send_task({"call_id": call_id, "destination": "support"})
    running.wait_for_record(first)
    second = running.send_task({"call_id": call_id, "destination": "support"})
    wait_until(
        lambda: any(
            line["event"] == "transfer.repeated" and line["refused_transfer_id"] == second
            for line in running.audit_of(first)
        )
    )
    assert running.sandbox.post_count(call_id) == 1


def test_plain_celery_is_under_the_same_rules_as_the_publisher(running):
    intent = make_intent("+12025550129")
    running.publisher.submit(intent)
    other = running.send_task({"call_id": intent.call_id, "destination": "support"})
    assert running.wait_for_record(other).reason is Reason.TRANSFER_IN_PROGRESS
    with pytest.raises(TransferInProgress):
        running.publisher.submit(make_intent("support", call_id=intent.call_id))


@pytest.mark.parametrize(
    ("asked_for", "reason"),
    [
        ({"call_id": "x", "destination": "+12025550145"}, Reason.INVALID_INTENT),
        ({"call_id": str(uuid.uuid4()), "destination": "12025550145 ext 5"}, Reason.INVALID_INTENT),
        ("+12025550145", Reason.INVALID_INTENT),
        ([1, 2], Reason.INVALID_INTENT),
        (
            {"call_id": str(uuid.uuid4()), "destination": "support", "schema_version": 2},
            Reason.UNSUPPORTED_SCHEMA_VERSION,
        ),
        ({"call_id": str(uuid.uuid4()), "destination": "+44 20 7946 0018"}, Reason.DESTINATION_NOT_ALLOWED),
    ],
)
def test_what_plain_celery_gets_wrong_has_an_outcome_too(running, asked_for, reason):
    transfer_id = running.send_task(asked_for)
    record = running.wait_for_record(transfer_id)
    assert (record.state, record.reason) == (State.REJECTED, reason)
    (line,) = [line for line in running.audit_of(transfer_id) if line["event"] == "transfer.finished"]
    assert line["reason"] == reason


def test_a_late_intent_from_plain_celery_expires_unsent(running):
    call_id = str(uuid.uuid4())
    transfer_id = running.send_task(
        {"call_id": call_id, "destination": "support", "expires_at": "2020-01-01T00:00:00Z"}
    )
    assert running.wait_for_record(transfer_id).state is State.EXPIRED
    assert running.sandbox.post_count(call_id) == 0


@pytest.fixture(scope="module")
def everything(running: Running) -> Running:
    """The run is over: troublemakers come last."""
    number = "+1 202 555 0177"
    broken = [
        running.send_task({"number": number}, name="no.such.task"),
        running.send_task({"call_id": number, "destination": number}),
    ]
    app = running.celery()
    broken.append(app.send_task(TASK_NAME, kwargs={number: number}).id)
    app.close()
    wait_for_the_end(running)
    return running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_the_run_has_left_behind(everything, check):
    check(everything)
