"""What piopiy 1.2.2's validator takes and refuses: the facts behind our own."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from piopiy.voice.exceptions import PiopiyValidationError
from piopiy.voice.validators import validate_transfer_request

from support.sdk_intents import CALL_ID, CALLER_ID

AGENT_ID = "3d0b6a52-7c1e-4b8a-9f60-2a1f5e9c8d47"


def judged(*, call_id=CALL_ID, params=None, endpoints=None, pipeline=None) -> bool:
    connect = {
        "action": "connect",
        "params": {"caller_id": CALLER_ID} if params is None else params,
        "endpoints": [{"type": "pstn", "number": "12025550143"}] if endpoints is None else endpoints,
    }
    try:
        validate_transfer_request(
            {"call_id": call_id, "pipeline": [connect] if pipeline is None else pipeline}
        )
    except PiopiyValidationError:
        return False
    return True


def test_the_facts_are_about_piopiy_1_2_2():
    assert version("piopiy") == "1.2.2"


@pytest.mark.parametrize(
    ("number", "is_taken"),
    [
        ("12025550143", True),
        ("1234567", True),
        ("1234567890123456", True),
        ("12025550143\n", True),  # match() with $: a trailing newline slips through
        ("+12025550143", False),
        ("02025550143", False),
        ("123456", False),
        ("12345678901234567", False),
        ("1 202 555 0143", False),
        (12025550143, False),
    ],
)
def test_piopiy_1_2_2_takes_numbers_of_7_to_16_digits_without_plus(number, is_taken):
    assert judged(endpoints=[{"type": "pstn", "number": number}]) is is_taken
    assert judged(params={"caller_id": number}) is is_taken


@pytest.mark.parametrize(
    "spelling",
    [
        CALL_ID.upper(),
        CALL_ID.replace("-", ""),
        "{" + CALL_ID + "}",
        "urn:uuid:" + CALL_ID,
        CALL_ID[1:] + "-\n",
    ],
)
def test_piopiy_1_2_2_takes_every_spelling_of_a_uuid(spelling):
    assert judged(call_id=spelling)
    assert judged(endpoints=[{"type": "agent", "id": spelling}])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"from": CALLER_ID},
        {"from": CALLER_ID, "caller_id": CALLER_ID},
        {"caller_id": CALLER_ID, "timeout": 1},
    ],
)
def test_piopiy_1_2_2_wants_caller_id_and_refuses_from(params):
    assert not judged(params=params)


@pytest.mark.parametrize(
    "uri",
    ["", "http://example.com", "sip:a@b\r\nX: y", "sip:a@b?Replaces=1", "sip:a:secret@b", "12025550143"],
)
def test_piopiy_1_2_2_does_not_check_a_sip_uri(uri):
    assert judged(endpoints=[{"type": "sip", "uri": uri}])


def test_piopiy_1_2_2_does_not_check_sip_headers():
    assert judged(endpoints=[{"type": "sip", "uri": "sip:a@b", "headers": {"From": "a\r\nb", "X": [1]}}])


def test_piopiy_1_2_2_wants_agents_last_and_at_most_two():
    phone, agent = {"type": "pstn", "number": "12025550143"}, {"type": "agent", "id": AGENT_ID}
    assert judged(endpoints=[phone, agent, agent])
    assert not judged(endpoints=[agent, phone])
    assert not judged(endpoints=[agent, agent, agent])
    assert not judged(endpoints=[])


@pytest.mark.parametrize(
    ("options", "is_taken"),
    [
        ({"ring_timeout_sec": 5}, True),
        ({"ring_timeout_sec": 120}, True),
        ({"ring_timeout_sec": 4}, False),
        ({"ring_timeout_sec": 121}, False),
        ({"max_duration_sec": 10}, True),
        ({"max_duration_sec": 7200}, True),
        ({"max_duration_sec": 9}, False),
        ({"max_duration_sec": 7201}, False),
        ({"recording": {"channels": "dual", "format": "wav"}}, True),
        ({"recording": {"channels": "mono"}}, False),
        ({"recording": True}, False),
        ({"waiting_music": None}, False),
    ],
)
def test_piopiy_1_2_2_has_these_ranges_for_connect_options(options, is_taken):
    assert judged(params={"caller_id": CALLER_ID, "options": options}) is is_taken


@pytest.mark.parametrize(
    ("step", "is_taken"),
    [
        ({"action": "play", "file_name": "a.mp3"}, True),
        ({"action": "record"}, True),
        ({"action": "hangup"}, True),
        ({"action": "param", "data": {"a": "x" * 256}}, True),
        ({"action": "param", "data": {"a": "x" * 257}}, False),
        ({"action": "param", "data": {f"k{i}": 1 for i in range(11)}}, False),
        ({"action": "input", "on_result": {"type": "pcmo", "ref": "x"}}, True),
        (
            {"action": "input", "on_result": {"type": "url", "url": "https://a\r\nb"}},
            True,
        ),  # only the start is checked
        ({"action": "speak", "text": "hi"}, False),
    ],
)
def test_piopiy_1_2_2_knows_seven_actions_and_no_speak(step, is_taken):
    assert judged(pipeline=[step]) is is_taken


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_piopiy_1_2_2_takes_metadata_that_json_cannot_carry(value):
    assert judged(params={"caller_id": CALLER_ID, "metadata": {"a": value}})
