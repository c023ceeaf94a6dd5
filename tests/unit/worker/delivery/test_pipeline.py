"""From an intent to the pipeline that is sent: who decides what, and that the vendor takes what comes out."""

from __future__ import annotations

import uuid
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from piopiy.voice.validators import validate_transfer_request

from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason
from transfer_tasks.registry.destinations import Destination
from transfer_tasks.registry.ring_time import PLATFORM_RING_SECONDS, longest_ring_seconds
from transfer_worker.delivery.pipeline import build_pipeline
from transfer_worker.errors import NotPermitted

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
AGENT_ID = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"
DEFAULT = "12025550199"
LISTED = Destination(
    name="support",
    description="People who help",
    endpoints=["+1 202-555-0143"],
    caller_id="+1 202-555-0107",
    ring_timeout_sec=20,
    strategy="sequential",
)


def build(
    destination: Any = "support", *, default: str | None = DEFAULT, **fields: Any
) -> list[dict[str, Any]]:
    intent = TransferIntent(call_id=CALL_ID, destination=destination, **fields)
    listed = LISTED if destination == "support" else None
    return build_pipeline(intent, listed=listed, default_caller_id=default)


def test_a_name_is_what_the_registry_says():
    assert build() == [
        {
            "action": "connect",
            "params": {
                "caller_id": "12025550107",
                "strategy": "sequential",
                "options": {"ring_timeout_sec": 20},
            },
            "endpoints": [{"type": "pstn", "number": "12025550143"}],
        }
    ]


def test_a_short_number_is_sent_without_the_plus_that_it_is_kept_with():
    """Ten digits of Denmark: without the plus nobody could read the intent again, with it the SDK refuses."""
    number, caller_id = "+45 32 12 34 56", "+45 32 12 34 57"
    asked = TransferIntent(
        call_id=CALL_ID,
        destination=[{"action": "connect", "endpoints": [number], "params": {"caller_id": caller_id}}],
    )
    intent = TransferIntent.from_json(asked.to_json())
    assert intent == asked
    (connect,) = build_pipeline(intent, listed=None, default_caller_id=None)
    assert connect["endpoints"] == [{"type": "pstn", "number": "4532123456"}]
    assert connect["params"]["caller_id"] == "4532123457"
    validate_transfer_request({"call_id": CALL_ID, "pipeline": [connect]})


def test_the_intent_comes_before_the_registry():
    (connect,) = build(
        caller_id="+1 202-555-0108",
        strategy="simultaneous",
        options={"ring_timeout_sec": 30, "max_duration_sec": 600},
        metadata={"case": "7"},
    )
    assert connect["params"] == {
        "caller_id": "12025550108",
        "strategy": "simultaneous",
        "options": {"ring_timeout_sec": 30, "max_duration_sec": 600},
        "metadata": {"case": "7"},
    }


def test_the_settings_number_is_the_last_resort_and_without_one_nothing_is_sent():
    (connect,) = build("+12025550143")
    assert connect["params"] == {"caller_id": DEFAULT}
    with pytest.raises(NotPermitted) as refused:
        build("+12025550143", default=None)
    assert refused.value.reason is Reason.CALLER_ID_MISSING
    assert "PIOPIY_NUMBER" in refused.value.detail


def test_every_connect_of_a_pipeline_is_filled_and_what_it_says_itself_stays():
    play = {"action": "play", "file_name": "hold.wav"}
    pipeline = build(
        [
            play,
            {
                "action": "connect",
                "params": {
                    "from": "+12025550108",
                    "options": {"ring_timeout_sec": 10},
                    "metadata": {"a": "own"},
                },
                "endpoints": ["+12025550143"],
            },
            {"action": "connect", "endpoints": ["+12025550144"]},
            {"action": "hangup"},
        ],
        options={"ring_timeout_sec": 30, "max_duration_sec": 600},
        metadata={"a": "intent", "b": "intent"},
    )
    assert [action["action"] for action in pipeline] == ["play", "connect", "connect", "hangup"]
    assert pipeline[1]["params"] == {
        "caller_id": "12025550108",
        "options": {"ring_timeout_sec": 10, "max_duration_sec": 600},
        "metadata": {"a": "own", "b": "intent"},
    }
    assert pipeline[2]["params"] == {
        "caller_id": DEFAULT,
        "options": {"ring_timeout_sec": 30, "max_duration_sec": 600},
        "metadata": {"a": "intent", "b": "intent"},
    }


def test_building_changes_neither_the_intent_nor_the_next_pipeline():
    intent = TransferIntent(call_id=CALL_ID, destination="support", metadata={"a": "b"})
    before = intent.to_json()
    first = build_pipeline(intent, listed=LISTED, default_caller_id=DEFAULT)
    first[0]["params"]["metadata"]["a"] = "changed"
    first[0]["endpoints"].clear()
    assert intent.to_json() == before
    assert build_pipeline(intent, listed=LISTED, default_caller_id=DEFAULT)[0]["endpoints"]


numbers = st.integers(0, 99).map("+1 (202) 555-01{:02}".format)
text = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
phones = numbers.map(lambda number: {"type": "pstn", "number": number})
sips = st.builds(
    lambda user, header: {"type": "sip", "uri": f"sip:{user}@sip.example.com", "headers": {"X-Case": header}},
    st.from_regex(r"[a-z]{1,10}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9 ]{0,8}[A-Za-z0-9]", fullmatch=True),
)
agents = st.uuids().map(lambda agent_id: {"type": "agent", "id": str(agent_id)})
endpoints = st.builds(
    lambda first, last: [*first, *last],
    st.lists(phones | sips, min_size=1, max_size=4),
    st.lists(agents, max_size=2),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "ring_timeout_sec": st.integers(5, 120),
        "max_duration_sec": st.integers(10, 7200),
        "machine_detection": st.booleans(),
        "recording": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "channels": st.sampled_from(["dual", "single"]),
                "format": st.sampled_from(["mp3", "wav"]),
            },
        ),
    },
)
metadata = st.dictionaries(st.from_regex(r"[a-z]{1,10}", fullmatch=True), text, max_size=3)
strategies = st.sampled_from(["sequential", "simultaneous"])
params = st.fixed_dictionaries(
    {},
    optional={
        "from": numbers,
        "strategy": strategies,
        "options": options,
        "metadata": metadata,
    },
)
pipelines = st.builds(
    lambda before, connects, after: [*before, *connects, *after],
    st.lists(st.just({"action": "play", "file_name": "hold.wav"}), max_size=1),
    st.lists(
        st.builds(
            lambda own, legs: {"action": "connect", "params": own, "endpoints": legs}, params, endpoints
        ),
        min_size=1,
        max_size=2,
    ),
    st.lists(st.just({"action": "hangup"}), max_size=1),
)


@given(
    destination=st.just("support") | endpoints | pipelines,
    asked=st.fixed_dictionaries(
        {},
        optional={
            "caller_id": numbers,
            "strategy": strategies,
            "options": options,
            "metadata": metadata,
        },
    ),
)
def test_whatever_is_built_passes_the_vendors_own_validator(destination, asked):
    intent = TransferIntent(call_id=str(uuid.uuid4()), destination=destination, **asked)
    listed = LISTED if destination == "support" else None
    pipeline = build_pipeline(intent, listed=listed, default_caller_id=DEFAULT)
    validate_transfer_request({"call_id": intent.call_id, "pipeline": pipeline})


@pytest.mark.parametrize(
    ("destination", "fields"),
    [
        ("support", {}),
        ("support", {"options": {"ring_timeout_sec": 30}}),
        (["+1 202-555-0143", "+1 202-555-0144"], {"strategy": "simultaneous"}),
        (["+1 202-555-0143", "+1 202-555-0144"], {"options": {"ring_timeout_sec": 10}}),
        (
            [
                {
                    "action": "connect",
                    "endpoints": ["+1 202-555-0143"],
                    "params": {"options": {"ring_timeout_sec": 15}},
                },
                {"action": "connect", "endpoints": ["+1 202-555-0144", "+1 202-555-0145"]},
            ],
            {"options": {"ring_timeout_sec": 10}},
        ),
    ],
)
def test_what_is_sent_rings_no_longer_than_the_session_reckons_with(destination, fields):
    rings_seconds = 0
    for action in build(destination, **fields):
        params = action["params"]
        seconds = params.get("options", {}).get("ring_timeout_sec", PLATFORM_RING_SECONDS)
        rings_seconds += seconds * (
            1 if params.get("strategy") == "simultaneous" else len(action["endpoints"])
        )
    intent = TransferIntent(call_id=CALL_ID, destination=destination, **fields)
    assert longest_ring_seconds(intent, {"support": LISTED}) == rings_seconds


@pytest.mark.parametrize(
    ("template", "metadata", "header"),
    [
        ("{ticket}", {"ticket": "4711"}, "4711"),
        ("{ticket}", {"ticket": 4711}, "4711"),
        ("call {call_id}, {ticket}", {"ticket": "a"}, f"call {CALL_ID}, a"),
        ("reception", {}, "reception"),
        ("{ticket}", {}, None),
        ("{ticket}", {"ticket": "टिकट"}, None),
        ("{ticket}", {"ticket": "{call_id}"}, "{call_id}"),
        ("{ticket}{ticket}", {"ticket": "x" * 200}, None),
    ],
)
def test_the_registrys_sip_headers_are_filled_in_or_left_out(template, metadata, header):
    leg = {"type": "sip", "uri": "sip:desk@pbx.example.com", "headers": {"X-Ticket": template}}
    listed = Destination(name="support", description="x", endpoints=[leg])
    intent = TransferIntent(call_id=CALL_ID, destination="support", metadata=metadata)
    (connect,) = build_pipeline(intent, listed=listed, default_caller_id=DEFAULT)
    assert connect["endpoints"][0].get("headers", {}).get("X-Ticket") == header
    assert connect["params"].get("metadata", {}) == metadata


def test_an_intents_own_headers_are_no_templates():
    leg = {"type": "sip", "uri": "sip:desk@pbx.example.com", "headers": {"X-Ticket": "{call_id}"}}
    (connect,) = build([leg])
    assert connect["endpoints"][0]["headers"] == {"X-Ticket": "{call_id}"}
