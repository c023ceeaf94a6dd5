"""What whoever takes over gets to know of a call."""

from __future__ import annotations

import uuid

import pytest

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.outcome import State
from transfer_tasks.testing import RecordingPublisher
from transfer_tasks.voice import Choice, TransferClient, VoiceSettings

CALL_ID = str(uuid.uuid4())


async def hand_over(*, settings=None, choice=None, **given):
    publisher = RecordingPublisher()
    support = Choice(name="support", description="A person", metadata=choice or {})
    settings = VoiceSettings(_env_file=None, announce_seconds=0, **(settings or {}))
    client = TransferClient(publisher, choices=[support], settings=settings)
    async with client as transfers, transfers.session(CALL_ID) as session:
        answer = await session.transfer("support", **given)
    assert answer.state is State.SUBMITTED
    return publisher.intents[0].metadata


async def test_the_calls_metadata_goes_before_the_choices():
    found = await hand_over(choice={"queue": "gold", "ticket": "0"}, metadata={"ticket": "4711"})
    assert found == {"queue": "gold", "ticket": "4711"}


async def test_the_models_reason_goes_along_only_where_a_setting_says_so():
    assert await hand_over(reason="wants a refund") == {}
    on = {"hand_over_reason": True}
    assert await hand_over(settings=on, reason="wants a refund") == {"reason": "wants a refund"}
    assert await hand_over(settings=on, reason=None) == {}
    assert await hand_over(settings=on, reason="x" * 5000) == {"reason": "x" * 256}
    assert await hand_over(settings=on, reason="said", metadata={"reason": "ours"}) == {"reason": "ours"}


@pytest.mark.parametrize("bad", [{"ticket": {"of": "many"}}, {"ticket": "x" * 5000}, {"": "x"}])
async def test_what_cannot_be_handed_over_is_left_out_and_logged(bad, caplog):
    assert await hand_over(choice={"queue": "gold"}, metadata=bad) == {"queue": "gold"}
    assert "is not handed over: metadata" in caplog.text


async def test_a_choice_whose_metadata_cannot_be_handed_over_ends_the_start():
    with pytest.raises(InvalidIntent, match="metadata"):
        await hand_over(choice={"ticket": ["a", "list"]})
