"""What makes two intents the same: canonical JSON, digests, labels."""

from __future__ import annotations

import hashlib
import json
import pickle

import pytest
from pydantic import ValidationError

from support.asking import AGENT_ID, CALL_ID, CONNECT, PHONE, intent, stored
from transfer_tasks.intent import (
    TransferIntent,
)
from transfer_tasks.intent.actions import Dtmf
from transfer_tasks.intent.endpoints import PhoneEndpoint
from transfer_tasks.intent.fields import ContractModel
from transfer_tasks.registry.destinations import Destination


def test_an_intent_cannot_be_changed():
    with pytest.raises(ValidationError):
        intent().reason = "other"


def test_an_intent_survives_json_and_pickle():
    value = intent(
        destination=["sip:desk@example.com", "agent:" + AGENT_ID],
        caller_id="+1 202-555-0100",
        reason="wants “billing”",
        metadata={"a": 1},
        options={"ring_timeout_sec": 20},
        strategy="simultaneous",
        idempotency_key="order-7",
    )
    assert TransferIntent.from_json(value.to_json()) == value
    assert TransferIntent.from_json(value.to_json().encode()) == value
    assert TransferIntent.from_dict(stored(value)) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_json_is_canonical():
    text = intent(transfer_id=AGENT_ID, expires_at="2026-01-31T12:00:00Z").to_json()
    assert text == (
        f'{{"call_id":"{CALL_ID}","destination":{{"name":"support"}},"expires_at":"2026-01-31T12:00:00Z",'
        f'"metadata":{{}},"options":{{}},"reason":"","requested_by":"","schema_version":1,'
        f'"transfer_id":"{AGENT_ID}"}}'
    )


def test_json_is_canonical_however_deep_and_in_whatever_order_it_was_said():
    connect = {
        "action": "connect",
        "params": {"strategy": "sequential", "metadata": {"b": 1, "a": 2.5}, "from": "12025550100"},
        "endpoints": [{"type": "sip", "uri": "sip:a@b.com", "headers": {"X-b": "1", "X-a": "%"}}, PHONE],
    }
    say = {"type": "say", "say": "“Hi”", "language": "en", "voice_id": "amy", "speed": 1.0}
    menu = {"type": "pcmo", "ref": "menu"}
    prompt = {"action": "play_get_input", "prompt": say, "input": ["speech"], "on_result": menu}
    param = {"action": "param", "data": {"z": 1, "y": True}}
    text = intent(destination=[param, prompt, connect], metadata={"d": 1, "c": "é"}).to_json()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_the_fields_of_every_model_of_the_contract_stand_in_the_order_of_their_names():
    # What no example shows: that this holds for every field that may be set.
    models = [ContractModel]
    for model in models:
        models += (each for each in model.__subclasses__() if each is not Destination)  # the registry's own
        assert list(model.model_fields) == sorted(model.model_fields), model
    assert {TransferIntent, PhoneEndpoint, Dtmf} <= set(models)


def test_two_requests_have_two_ids_and_one_content():
    first = intent(reason="a", requested_by="b", idempotency_key="c", expires_in_seconds=20)
    second = intent(call_id=CALL_ID.upper())
    assert first.transfer_id != second.transfer_id
    assert first.destination_digest() == second.destination_digest()
    assert first.content_digest() == second.content_digest()


@pytest.mark.parametrize(
    "change",
    [
        {"caller_id": "12025550100"},
        {"options": {"ring_timeout_sec": 20}},
        {"strategy": "sequential"},
        {"metadata": {"a": 1}},
    ],
)
def test_how_to_connect_is_content_and_not_destination(change):
    assert intent(**change).destination_digest() == intent().destination_digest()
    assert intent(**change).content_digest() != intent().content_digest()


@pytest.mark.parametrize("place", ["billing", PHONE])
def test_another_place_is_another_transfer(place):
    assert intent(destination=place).destination_digest() != intent().destination_digest()
    assert intent(destination=place).content_digest() != intent().content_digest()


def test_another_call_is_another_content():
    assert intent(call_id=AGENT_ID).content_digest() != intent().content_digest()


def test_digests_are_sha256_over_canonical_json():
    place, call = '{"name":"support"}', f'"call_id":"{CALL_ID}"'
    content = f'{{{call},"destination":{place},"metadata":{{}},"options":{{}}}}'
    assert intent().destination_digest() == hashlib.sha256(place.encode()).hexdigest()[:32]
    assert intent().content_digest() == hashlib.sha256(content.encode()).hexdigest()[:32]
    place = '{"endpoints":[{"number":"12025550143","type":"pstn"}]}'
    assert intent(destination=PHONE).destination_digest() == hashlib.sha256(place.encode()).hexdigest()[:32]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"destination": [PHONE, "sip:a@b.com", f"agent:{AGENT_ID}"], "strategy": "simultaneous"},
        {"destination": [CONNECT | {"params": {"from": "12025550100", "metadata": {"b": 1, "a": "ü"}}}]},
        {"destination": {"pipeline": [{"action": "play", "file_name": "a.wav"}, CONNECT]}},
        {"caller_id": "12025550100", "options": {"ring_timeout_sec": 20}, "metadata": {"b": "ü", "a": 2.5}},
    ],
)
def test_content_is_written_as_in_the_whole_json(fields):
    value = intent(reason="said", idempotency_key="order-7", **fields)
    names = {"call_id", "caller_id", "destination", "metadata", "options", "strategy"}
    content = value.model_dump_json(include=names, exclude_none=True)
    assert value.content_digest() == hashlib.sha256(content.encode()).hexdigest()[:32]


def test_spellings_of_one_place_have_one_digest():
    spellings = ["+1 202-555-0143", PHONE, [PHONE], {"endpoints": ["12025550143"]}]
    assert len({intent(destination=spelling).destination_digest() for spelling in spellings}) == 1


def test_labels_are_masked_and_short():
    assert intent().labels() == {"destination": "support"}
    assert intent(destination=["+1 202-555-0143", "sip:alice@example.com", f"agent:{AGENT_ID}"]).labels() == {
        "destination": "endpoints",
        "to": f"+1*******43, sip:***@example.com, agent:{AGENT_ID}",
    }
    assert intent(destination=[CONNECT, {"action": "hangup"}]).labels() == {
        "destination": "pipeline",
        "to": "+1*******43",
    }
