"""What Flower shows of a message that one of our publishers wrote, or somebody who writes like one."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from support.cluster import make_intent
from transfer_tasks.masking import mask_text
from transfer_tasks.publisher.message import TASK_NAME, write_notification
from transfer_worker.queue.poison import read_element
from transfer_worker.queue.request import MaskedRequest
from transfer_worker.runtime.celery_app import app

CALL = "0f5c2b1e-6a4d-4f7e-9b3a-2d1c0e9f8a77"


@pytest.mark.parametrize(
    "said",
    [
        "asks for a person",
        "call +1 555 010 1234 back",
        "5550101234",
        r"555\u202f0101234",
        "555&nbsp;0101234",
        "sip:alice@example.com",
        "4f7e-9b3a-2d1c0e9f8a77",
        CALL,
    ],
)
@pytest.mark.parametrize("call_id", [CALL, "5550101234", CALL.upper()])
def test_it_is_masked_as_a_whole_whoever_wrote_it(call_id, said):
    shown = f"{{'call_id': '{call_id}', 'reason': '{said}'}}"
    assert MaskedRequest._describe((), {}, shown) == mask_text(shown)


def test_a_message_that_recovery_has_sent_is_described_by_its_copy_of_the_intent_masked(monkeypatch):
    monkeypatch.setattr(MaskedRequest, "endpoints", {})  # another test may have read a registry
    intent = make_intent("support", reason="call +1 555 010 1234 back")
    text = write_notification("transfers")
    for name, value in (("id", intent.transfer_id), ("intent", intent.to_json()), ("signature", "")):
        text = text.replace(rf'"\u0000{name}"', json.dumps(value))
    seen = read_element(text.encode(), queue="transfers").as_seen_by_celery()
    message = SimpleNamespace(
        headers=seen["headers"], properties=seen["properties"], payload=([], {}, {}), delivery_info={}
    )

    request = MaskedRequest(
        message,
        app=app,
        task=app.tasks[TASK_NAME],
        headers=message.headers,
        body=message.payload,
        decoded=True,
    )

    assert request.kwargsrepr == repr(
        {"call_id": intent.call_id, "reason": "call +1*******34 back", "destination": "support"}
    )
