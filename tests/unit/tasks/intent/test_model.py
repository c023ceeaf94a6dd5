"""An intent: every spelling of a call and of a place becomes one shape."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import UUID

import pytest

from support.asking import AGENT_ID, CALL_ID, CONNECT, PHONE, intent, refused, stored
from transfer_tasks.intent import (
    EndpointsDestination,
    NamedDestination,
    PipelineDestination,
)


@pytest.mark.parametrize(
    "spelling",
    [
        CALL_ID,
        CALL_ID.upper(),
        CALL_ID.replace("-", ""),
        "{" + CALL_ID + "}",
        "urn:uuid:" + CALL_ID,
        UUID(CALL_ID),
    ],
)
def test_every_spelling_of_a_call_id_is_one_call(spelling):
    assert intent(call_id=spelling).call_id == CALL_ID


@pytest.mark.parametrize(
    "spelling", [CALL_ID + "\n", CALL_ID[1:] + "\n", "0x" + CALL_ID[2:], "_" + CALL_ID[1:], ""]
)
def test_what_int_reads_besides_digits_is_no_call_id(spelling):
    assert refused(call_id=spelling).field == "call_id"


@pytest.mark.parametrize(
    ("spelling", "destination"),
    [
        ("support", {"name": "support"}),
        ({"name": "support"}, {"name": "support"}),
        (NamedDestination(name="support"), {"name": "support"}),
        ("+1 (202) 555-0143", {"endpoints": [PHONE]}),
        (" (+1) 202-555-0143", {"endpoints": [PHONE]}),
        ("12025550143", {"endpoints": [PHONE]}),
        (PHONE, {"endpoints": [PHONE]}),
        ({"type": "pstn", "number": "+1 202-555-0143"}, {"endpoints": [PHONE]}),
        ({"endpoints": ["+1 202-555-0143"]}, {"endpoints": [PHONE]}),
        ("SIP:Desk@PBX.example.com", {"endpoints": [{"type": "sip", "uri": "sip:Desk@pbx.example.com"}]}),
        ("agent:" + AGENT_ID.upper(), {"endpoints": [{"type": "agent", "id": AGENT_ID}]}),
        (["+1 202-555-0143", "agent:" + AGENT_ID], {"endpoints": [PHONE, {"type": "agent", "id": AGENT_ID}]}),
        ((PHONE,), {"endpoints": [PHONE]}),
        ([CONNECT], {"pipeline": [CONNECT]}),
        ({"pipeline": [CONNECT]}, {"pipeline": [CONNECT]}),
        (SimpleNamespace(build=lambda: [CONNECT]), {"pipeline": [CONNECT]}),
    ],
)
def test_every_spelling_of_a_destination_becomes_one_of_three_shapes(spelling, destination):
    assert stored(intent(destination=spelling))["destination"] == destination


def test_the_three_shapes_are_three_types():
    assert isinstance(intent().destination, NamedDestination)
    assert isinstance(intent(destination=PHONE).destination, EndpointsDestination)
    assert isinstance(intent(destination=[CONNECT]).destination, PipelineDestination)


def test_what_the_published_examples_say_is_taken_and_put_right():
    pasted = [
        {"action": "param", "data": {"ticket": 7, "vip": True}},
        {"action": "play", "file_name": "hold.mp3"},
        {"action": "record", "format": "mp3", "channels": "dual"},
        {
            "action": "connect",
            "params": {
                "from": "+1 202-555-0100",
                "strategy": "sequential",
                "options": {
                    "ring_timeout_sec": 20,
                    "recording": {"enabled": True},
                    "waiting_music": "jazz.mp3",
                },
                "metadata": {"source": "agent"},
            },
            "endpoints": [{"type": "pstn", "number": "+1 (202) 555-0143"}, {"type": "agent", "id": AGENT_ID}],
        },
        {"action": "hangup"},
    ]
    pipeline = stored(intent(destination=pasted))["destination"]["pipeline"]
    assert pipeline[3]["params"]["caller_id"] == "12025550100"
    assert "from" not in pipeline[3]["params"]
    assert pipeline[3]["endpoints"][0]["number"] == "12025550143"
    assert pipeline[:3] == pasted[:3]
    assert pipeline[4] == pasted[4]


@pytest.mark.parametrize(
    "endpoints",
    [
        [],
        ["agent:" + AGENT_ID, PHONE],
        [PHONE, "agent:" + AGENT_ID, "sip:desk@example.com"],
        ["agent:" + AGENT_ID] * 3,
        [PHONE] * 21,
    ],
)
def test_endpoints_are_one_to_twenty_with_at_most_two_agents_and_those_last(endpoints):
    assert refused(destination=endpoints).field == "destination.endpoints"
    assert (
        refused(destination=[{"action": "connect", "endpoints": endpoints}]).field
        == "destination.pipeline[0].endpoints"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"From": "x"},
        {"X-": "x"},
        {"X-A": ""},
        {"X-A": "a\r\nVia: b"},
        {"X-A": "é"},
        {"X-A": 1},
        {"X-A\n": "x"},
        {f"X-{i}": "x" for i in range(21)},
        [],
    ],
)
def test_sip_headers_are_custom_and_clean(headers):
    error = refused(destination={"type": "sip", "uri": "sip:desk@example.com", "headers": headers})
    assert error.field.startswith("destination.endpoints[0].headers")
