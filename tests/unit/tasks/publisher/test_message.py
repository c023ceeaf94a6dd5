"""The Celery message that says: look at this transfer. (The wire is pinned in tests/contract.)"""

from __future__ import annotations

import base64
import json

from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher.message import INTENT_HEADER, TASK_NAME, build_message
from transfer_tasks.signature import Written

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def build(destination: object) -> tuple[TransferIntent, str]:
    intent = TransferIntent(
        call_id=CALL_ID,
        destination=destination,
        reason="Ring me at +1 202 555 0199",
        metadata={"k": "secret"},
    )
    text = build_message(
        transfer_id=intent.transfer_id,
        call_id=intent.call_id,
        labels=intent.labels(),
        queue="transfers",
        written=Written(intent.to_json()),
    )
    return intent, text


def test_the_transfers_id_is_the_tasks_id_and_the_delivery_tag():
    intent, text = build("support")
    message = json.loads(text)
    assert message["headers"]["task"] == TASK_NAME == "transfer_tasks.transfer_call"
    assert message["headers"]["id"] == message["properties"]["delivery_tag"] == intent.transfer_id


def test_what_celery_and_flower_show_of_it_is_masked():
    intent, text = build(["+1 (202) 555-0143", "sip:alice.secret@sip.example.com"])
    message = json.loads(text)
    assert message["headers"].pop(INTENT_HEADER) == intent.to_json()
    text = json.dumps(message)
    # These two have digits of their own.
    shown = text.replace(intent.transfer_id, "").replace(message["headers"]["origin"], "")
    for private in ("5550143", "555-0143", "0199", "alice", "secret"):
        assert private not in shown
    assert json.loads(base64.b64decode(json.loads(text)["body"]))[:2] == [[], {}]


def test_flower_can_tell_the_call_and_the_destination():
    _, text = build("support")
    assert json.loads(text)["headers"]["kwargsrepr"] == repr({"call_id": CALL_ID, "destination": "support"})


def test_it_never_expires_by_itself_so_that_every_transfer_gets_its_line():
    """A message whose `expires` has passed is dropped by the worker without a word (Celery 5.7)."""
    headers = json.loads(build("support")[1])["headers"]
    assert not {"expires", "eta"} & headers.keys()


def test_what_looks_like_a_place_in_the_template_stays_text():
    text = build_message(
        transfer_id="\0shown", call_id="%(id)s", labels={}, queue="100%(id)s", written=Written("%s\0id")
    )
    message = json.loads(text)
    headers = message["headers"]
    assert (headers["id"], headers[INTENT_HEADER]) == ("\0shown", "%s\0id")
    assert headers["kwargsrepr"] == "{'call_id': '%(id)s'}"
    assert message["properties"]["delivery_info"]["routing_key"] == "100%(id)s"


def test_it_is_small_and_one_line():
    _, text = build("support")
    assert len(text) < 1200
    assert "\n" not in text


def test_the_queue_is_its_own_routing_key():
    text = build_message(transfer_id="t", call_id="c", labels={}, queue="other")
    assert json.loads(text)["properties"]["delivery_info"] == {"exchange": "", "routing_key": "other"}
