"""What Flower's rows say, and what nobody may read in it."""

from __future__ import annotations

import ast
import re
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest
from celery import Celery

from support import wait_until
from support.cluster import PIOPIY_NUMBER, make_intent
from support.flower_scene import LOGIN, SIP_USER, send_plainly
from transfer_tasks.outcome import State
from transfer_tasks.publisher.message import build_message
from transfer_worker.queue.transport import CONTROL_EXCHANGE

SLOW_NUMBER = "+1 202 555 0101"


SILENT_NUMBER = "+1 202 555 0160"


@pytest.mark.parametrize(
    ("name", "kwargs", "ending"),
    [
        ("named", {"destination": "support", "to": "+1*******43"}, "submitted (accepted_by_platform"),
        ("submitted", {"destination": "endpoints", "to": "+1*******00"}, "submitted (accepted_by_platform"),
        ("sip", {"destination": "endpoints", "to": "sip:***@sip.example.com"}, "submitted ("),
        ("retried", {"destination": "endpoints", "to": "+1*******53"}, "attempts 2, HTTP 200)"),
        ("plain", {"destination": "endpoints", "to": "+1*******43"}, "submitted (accepted_by_platform"),
        ("not allowed", {"destination": "endpoints"}, "TransferRejected(destination_not_allowed, attempts 0"),
        ("not found", {"destination": "endpoints"}, "TransferRejected(call_not_found, attempts 1, HTTP 404"),
        ("unknown", {"destination": "endpoints"}, "TransferUnknown(server_error, attempts 1, HTTP 500"),
        ("plain and wrong", {"destination": "unreadable"}, "TransferRejected(invalid_intent"),
    ],
)
def test_a_row_says_at_a_glance_where_to_and_how_it_ended(scene, name, kwargs, ending):
    row = scene.row(name)
    shown = ast.literal_eval(row["kwargs"])

    assert shown.items() >= kwargs.items()
    assert ending in (row["exception"] or row["result"])
    assert row["state"] == ("SUCCESS" if "submitted (" in ending or "HTTP 200" in ending else "FAILURE")


def test_a_second_notification_does_not_turn_an_unknown_into_a_success(scene):
    before = scene.count_events("task-failed")
    notify(scene, "unknown")

    wait_until(lambda: scene.count_events("task-failed") > before, message="the notification was answered")
    assert scene.row("unknown")["state"] == "FAILURE"


def test_a_notification_that_finds_the_transfer_in_other_hands_leaves_the_last_word_to_them(scene):
    with scene.cluster.publisher() as publisher:
        handle = publisher.submit(make_intent(SILENT_NUMBER))
        scene.transfers["held"] = (handle.transfer_id, "")
        wait_until(lambda: scene.state_of(handle.transfer_id) is State.SENDING)
        before = scene.count_events("task-started")
        notify(scene, "held")
        wait_until(lambda: scene.count_events("task-started") > before, message="the notification was heard")

        assert handle.outcome().state is State.UNKNOWN
    # A success of the second notification would stand for ever: Celery puts it before any failure.
    wait_until(lambda: scene.row("held")["state"] == "FAILURE", message=lambda: str(scene.row("held")))
    assert "TransferUnknown(answer_lost" in scene.row("held")["exception"]


def test_a_repeat_from_plain_celery_is_a_success_only_if_the_first_one_was_submitted(scene):
    slow = {"call_id": str(uuid.uuid4()), "destination": SLOW_NUMBER}
    first = send_plainly(scene.cluster, slow)
    wait_until(lambda: scene.state_of(first) is State.SENDING)
    early = send_plainly(scene.cluster, slow)

    row = wait_until(lambda: (found := scene.tasks().get(early)) and found["state"] == "FAILURE" and found)
    assert row["exception"] == f"TransferRepeated(repeat of {first} (sending))"

    wait_until(lambda: scene.tasks()[first]["state"] == "SUCCESS")
    late = send_plainly(scene.cluster, slow)
    row = wait_until(lambda: (found := scene.tasks().get(late)) and found["state"] == "SUCCESS" and found)
    assert f"repeat of {first}" in row["result"]


def notify(scene, name):
    """Put another message for the same transfer on the queue."""
    transfer_id, call_id = scene.transfers[name]
    message = build_message(transfer_id=transfer_id, call_id=call_id, labels={}, queue="transfers")
    scene.ledger.client.lpush("transfers", message)


def test_celery_inspect_shows_no_number_either(scene):
    intent = {"call_id": str(uuid.uuid4()), "destination": SLOW_NUMBER}
    transfer_id = send_plainly(scene.cluster, {**intent, "reason": f"ask sip:{SIP_USER}@pbx.example.com"})
    wait_until(lambda: scene.state_of(transfer_id) is State.SENDING)

    with Celery(broker=scene.cluster.redis_url, set_as_current=False) as plain:
        plain.conf.control_exchange = CONTROL_EXCHANGE
        # It listens as long as that, whatever comes: so it is asked until the worker has answered in time.
        active = wait_until(lambda: plain.control.inspect(["w1@test"], timeout=1).active(safe=False))

    shown = next(task["kwargs"] for task in active["w1@test"] if task["id"] == transfer_id)
    assert "+1*******01" in shown
    assert SIP_USER not in shown


def test_no_number_and_no_secret_is_in_any_page_answer_or_file_of_flower(scene):
    in_flight = [
        send_plainly(scene.cluster, {"call_id": str(uuid.uuid4()), "destination": SILENT_NUMBER}),
        send_plainly(scene.cluster, {"call_id": "wrong", "destination": SILENT_NUMBER, "reason": SIP_USER}),
    ]
    wait_until(lambda: scene.state_of(in_flight[0]) is State.SENDING)
    wait_until(lambda: in_flight[1] in scene.tasks())

    texts = {path: scene.fetch(path) for path in every_path(scene)}
    assert in_flight[0] in texts["/api/workers?refresh=1"], "the worker told what it is doing"
    assert "broker_url" in texts["/api/workers?refresh=1"], "the worker told its configuration"
    texts["the database"] = wait_until(
        lambda: saved(scene, in_flight[1]), message="Flower has saved its state"
    )

    secret = re.search(r"://:([^@]+)@", scene.cluster.redis_url)[1]
    forbidden = {secret, scene.cluster.sandbox.token, LOGIN[1], SIP_USER, PIOPIY_NUMBER}
    for path, text in texts.items():
        assert {word for word in forbidden if word in text} == set(), path
        assert re.findall(r"(?<!\d)\+?1?[ (-]*(?:202)[ )-]*555[ -]*01\d\d", text) == [], path
        assert re.findall(r"20 ?7946 ?0018", text) == [], path


def every_path(scene):
    tasks = scene.tasks()
    columns = "draw=1&start=0&length=100&order[0][column]=0&order[0][dir]=asc&columns[0][data]=received"
    worker = urllib.parse.quote("w1@test")
    return [
        "/",
        "/workers",
        "/workers?json=1",
        f"/worker/{worker}",
        "/tasks",
        f"/tasks/datatable?{columns}",
        "/broker",
        "/api/workers?refresh=1",
        "/api/tasks",
        "/api/task/types",
        "/api/queues/length",
        "/metrics",
        "/healthcheck",
        *(f"/task/{task_id}" for task_id in tasks),
        *(f"/api/task/info/{task_id}" for task_id in tasks),
    ]


def saved(scene, task_id):
    """Return what is on disk once it tells of this task."""
    text = "".join(path.read_bytes().decode("latin-1") for path in scene.database.parent.glob("flower.db*"))
    return text if task_id in text else ""
