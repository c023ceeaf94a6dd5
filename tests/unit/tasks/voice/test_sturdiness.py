"""Whatever a model writes, the caller is helped; what a team sets up wrong ends the start. On fake time."""

from __future__ import annotations

import json
import logging

import pytest

from support.calling import CHOICES, OK, Caller, client_of, new_call_id, on_fake_time, session_of
from transfer_tasks.errors import SettingsError
from transfer_tasks.outcome import State
from transfer_tasks.testing import RecordingPublisher
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import Choice, SessionReason, TransferClient, VoiceSettings
from transfer_tasks.voice.choices import Choices

FRONT_DESK = Choice(name="front-desk", description="The front desk", to="+12025550143")


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        (None, ""),
        ("", ""),
        (7, "7"),
        (["a refund", 2], "['a refund', 2]"),
        ("half a pair \ud83d here", "half a pair  here"),
        ("x" * 5_000, "x" * 500),
        ("\ud800" * 600, ""),
        ("a\nb\x00c", None),
        ({"why": "refund"}, "{'why': 'refund'}"),
    ],
)
def test_no_reason_that_a_model_gives_keeps_a_caller_from_being_connected(reason, kept):
    async def check():
        async with session_of() as (session, publisher):
            answer = await session.transfer("support", reason=reason, say=Caller().say)
            assert answer.state is State.SUBMITTED
            intent = publisher.intents[0]
            intent.to_json().encode()
            assert kept is None or intent.reason == kept
            assert not set(intent.reason) & {"\n", "\x00"}

    run_on_fake_time(check())


@pytest.mark.parametrize("asked", ["support", "Support", " SUPPORT ", ["support"], ("Support",), "sUPPORT\n"])
def test_another_case_spaces_or_a_list_of_one_are_the_same_name(asked):
    async def check():
        async with session_of() as (session, publisher):
            assert (await session.transfer(asked)).state is State.SUBMITTED
            assert (await session.transfer("support")).is_repeat
        assert len(publisher.intents) == 1

    run_on_fake_time(check())


@pytest.mark.parametrize("asked", ["front desk", "Front_Desk", "FRONT-desk", None, "", []])
def test_dashes_don_t_matter_and_where_there_is_one_destination_none_needs_to_be_named(asked):
    assert Choices([FRONT_DESK], {}).find(asked) == "front-desk"


def test_two_names_that_a_model_may_mean_are_not_guessed_between():
    choices = Choices([FRONT_DESK, Choice(name="front_desk", description="Another", to="+12025550144")], {})
    assert choices.find("front desk") is None
    assert choices.find("front_desk") == "front_desk"
    assert choices.find(None) is None


@pytest.mark.parametrize(
    "made_up",
    ["my cousin", "\ud800", None, {}, 7, ["support", "billing"], "x" * 100_000, "+12025550143", True],
)
def test_a_name_that_there_is_not_gets_the_list_back(made_up):
    async def check():
        async with session_of() as (session, publisher):
            caller = Caller()
            answer = await session.transfer(made_up, say=caller.say)
            assert answer.reason is SessionReason.NO_SUCH_DESTINATION
            seen_by_model = answer.for_model()
            assert seen_by_model["destinations"] == {each.name: each.description for each in CHOICES}
            json.dumps(seen_by_model).encode()
            assert caller.texts == []
        assert publisher.intents == []

    run_on_fake_time(check())


def open_client(*choices, **settings):
    return TransferClient(
        RecordingPublisher(), choices=choices, settings=VoiceSettings(_env_file=None, **settings)
    )


def test_the_same_name_twice_ends_the_start():
    with pytest.raises(SettingsError, match="'front-desk' is offered 2 times"):
        open_client(FRONT_DESK, FRONT_DESK)


def test_a_choice_that_leads_nowhere_and_that_the_registry_does_not_know_ends_the_start(tmp_path):
    registry = tmp_path / "destinations.toml"
    registry.write_text('[support]\ndescription = "Support"\nendpoints = ["+1 202-555-0143"]\n')
    with pytest.raises(SettingsError, match=r"'suport' is not in the registry.*has support"):
        open_client(Choice(name="suport", description="…"), destinations_file=registry)
    open_client(Choice(name="support", description="…"), FRONT_DESK, destinations_file=registry)


@on_fake_time
async def test_a_closed_client_opens_no_session_and_asks_for_nothing(caplog):
    async with client_of() as (client, publisher):
        session = client.session(new_call_id())
    with pytest.raises(RuntimeError, match="is closed"):
        client.session(new_call_id())
    answer = await session.transfer("support")
    assert answer.reason is SessionReason.SESSION_CLOSED
    assert answer.for_model()["say_to_caller"]
    assert publisher.intents == []


@on_fake_time
async def test_a_session_that_was_left_while_its_agent_goes_on_says_so_to_caller_model_and_log(caplog):
    async with client_of() as (client, publisher):
        async with client.session(new_call_id()) as session:
            pass  # as around LiveKit's AgentSession.start(), which returns at once
        caller = Caller()
        with caplog.at_level(logging.ERROR):
            answer = await session.transfer("support", say=caller.say)
        assert answer.reason is SessionReason.SESSION_CLOSED
        assert caller.texts == ["I'm sorry, I couldn't transfer you just now."]
        assert answer.was_said
        assert "session.end() when the call ends" in caplog.text
        assert publisher.intents == []


@on_fake_time
async def test_a_session_without_async_with_is_ended_by_end_and_waited_for_by_its_client():
    async with client_of() as (client, publisher):
        session = client.session(new_call_id())
        assert (await session.transfer("support")).reason is OK
        await session.end()
        assert (await session.transfer("support")).reason is SessionReason.SESSION_CLOSED
    assert len(publisher.intents) == 1
