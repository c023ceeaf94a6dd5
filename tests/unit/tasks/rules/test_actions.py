from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.intent import TransferIntent
from transfer_tasks.outcome import Reason
from transfer_tasks.rules.actions import ACTIONS, ActionRules, parse_actions

CONNECT = {"action": "connect", "endpoints": ["+1 202-555-0143"]}
PLAY = {"action": "play", "file_name": "hold.wav"}
PARAM = {"action": "param", "data": {"ticket": 7}}
HANGUP = {"action": "hangup"}
RECORD = {"action": "record"}
TO_A_FLOW = {"type": "pcmo", "ref": "menu"}
TO_A_URL = {"type": "url", "url": "https://evil.example.com/cards"}
SAY = {"type": "say", "say": "Your card number, please", "language": "en", "voice_id": "v", "speed": 1.0}


def ask(prompt: dict[str, Any], on_result: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"action": "play_get_input", "input": ["dtmf"], "prompt": prompt, "on_result": on_result, **fields}


def from_file(name: str) -> dict[str, str]:
    return {"type": "file", "file_name": name}


def object_to(destination: Any, *, actions: str = "", media: str = "", **fields: Any) -> Any:
    intent = TransferIntent(call_id=str(uuid.uuid4()), destination=destination, **fields)
    return ActionRules.parse(actions, media).find_objection(intent)


@pytest.mark.parametrize(
    "pipeline",
    [
        [CONNECT],
        [PARAM, CONNECT],
        [CONNECT, HANGUP],
        [CONNECT, PARAM, CONNECT],
        [PARAM, CONNECT, CONNECT, HANGUP],
    ],
)
def test_without_settings_a_pipeline_connects(pipeline: list[Any]) -> None:
    assert object_to(pipeline) is None


def test_a_file_that_is_named_is_played_before_the_call_is_connected() -> None:
    assert object_to([PLAY, PARAM, CONNECT, HANGUP], media="hold.wav") is None


@pytest.mark.parametrize(
    ("pipeline", "field"),
    [
        ([HANGUP, CONNECT], "destination.pipeline[0]"),
        ([CONNECT, HANGUP, HANGUP], "destination.pipeline[1]"),
        ([CONNECT, PLAY], "destination.pipeline[1]"),
        ([CONNECT, PARAM], "destination.pipeline[1]"),
        ([CONNECT, HANGUP, CONNECT], "destination.pipeline[1]"),
    ],
)
def test_each_action_has_its_place(pipeline: list[Any], field: str) -> None:
    objection = object_to(pipeline, media="hold.wav")
    assert (objection.reason, objection.field) == (Reason.ACTION_NOT_ALLOWED, field)


@pytest.mark.parametrize(
    "action",
    [
        RECORD,
        ask(SAY, TO_A_FLOW),
        ask(from_file("hold.wav"), TO_A_FLOW),
        {"action": "input", "on_result": TO_A_FLOW},
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_what_asks_or_records_needs_a_setting(action: dict[str, Any], place: int) -> None:
    pipeline = [CONNECT]
    pipeline.insert(place, action)
    objection = object_to(pipeline, media="hold.wav")
    assert (objection.reason, objection.field) == (
        Reason.ACTION_NOT_ALLOWED,
        f"destination.pipeline[{place}]",
    )
    assert f"TRANSFER_ALLOW_ACTIONS={action['action']}" in objection.fix
    assert object_to(pipeline, media="hold.wav", actions=action["action"]) is None


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (ask(from_file("other.wav"), TO_A_FLOW), "prompt.file_name"),
        (ask(SAY, TO_A_URL), "on_result.url"),
        (
            ask(SAY, TO_A_FLOW, retries={"invalid_prompt": from_file("../x")}),
            "retries.invalid_prompt.file_name",
        ),
        (
            ask(SAY, TO_A_FLOW, retries={"no_input_prompt": from_file("/x")}),
            "retries.no_input_prompt.file_name",
        ),
        ({"action": "input", "on_result": TO_A_URL}, "on_result.url"),
        ({"action": "play", "file_name": "file:///etc/passwd"}, "file_name"),
        (
            CONNECT | {"params": {"options": {"waiting_music": "http://[::1]:6379/"}}},
            "params.options.waiting_music",
        ),
        (CONNECT | {"params": {"options": {"recording": {"enabled": True}}}}, "params.options.recording"),
        (CONNECT | {"params": {"options": {"recording": {"channels": "dual"}}}}, "params.options.recording"),
    ],
)
def test_files_urls_and_recordings_are_looked_at_wherever_they_stand(
    action: dict[str, Any], field: str
) -> None:
    objection = object_to(
        [action, CONNECT], actions="play_get_input, input", media="hold.wav, media.example.com"
    )
    assert (objection.reason, objection.field) == (
        Reason.ACTION_NOT_ALLOWED,
        f"destination.pipeline[0].{field}",
    )


@pytest.mark.parametrize("destination", ["support", "+1 202-555-0143", [CONNECT]])
@pytest.mark.parametrize(
    ("options", "field", "settings"),
    [
        ({"waiting_music": "hold.wav"}, "options.waiting_music", {"media": "hold.wav"}),
        ({"recording": {"enabled": True}}, "options.recording", {"actions": "record"}),
        ({"recording": {"format": "wav"}}, "options.recording", {"actions": "record"}),
    ],
)
def test_the_intents_own_options_are_looked_at(
    destination: Any, options: dict[str, Any], field: str, settings: dict[str, str]
) -> None:
    objection = object_to(destination, options=options)
    assert (objection.reason, objection.field) == (Reason.ACTION_NOT_ALLOWED, field)
    assert object_to(destination, options=options, **settings) is None


def test_that_nothing_is_recorded_may_always_be_said() -> None:
    assert object_to("support", options={"recording": {"enabled": False}}) is None


def test_an_objection_shows_no_login() -> None:
    objection = object_to(
        [{"action": "play", "file_name": "https://user:hunter2@media.example.com/x"}, CONNECT]
    )
    assert "hunter2" not in repr(objection)


def test_a_setting_names_actions_that_there_are() -> None:
    assert {"connect", "play", "play_get_input", "param", "record", "hangup", "input"} == ACTIONS
    assert parse_actions(" record,, input ") == {"record", "input"}
    with pytest.raises(ValueError, match="'speak' is no action: use input, play_get_input, record"):
        parse_actions("record, speak")


@given(st.lists(st.sampled_from([CONNECT, PLAY, PARAM, HANGUP, RECORD, ask(SAY, TO_A_FLOW)]), max_size=6))
def test_without_settings_nothing_but_connecting_is_left_whatever_the_order(actions: list[Any]) -> None:
    pipeline = [*actions[:3], CONNECT, *actions[3:]]
    names = " ".join(action["action"] for action in pipeline)
    is_plain = re.fullmatch(r"((param|connect) )*connect( hangup)?", names) is not None
    assert (object_to(pipeline) is None) is is_plain
