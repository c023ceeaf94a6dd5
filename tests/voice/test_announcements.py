"""What the caller hears before anything is asked for, by the agent SDK's own word of when it was heard."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from voice.model import call_tool, say, transfer

ANNOUNCED = "I'm connecting you to support now, one moment."
SENTENCE_SECONDS = 1.5
BUFFERED_SECONDS = 0.8
"""What the room has been given and has not played yet."""


async def ring_and_ask(voice, *script, sentence_seconds=SENTENCE_SECONDS):
    """Ring, and let the agent begin to announce a transfer; return the call."""
    call = await voice.ring(*script)
    call.mouth.sentence_seconds = sentence_seconds
    await call.say("A person, please.")
    await call.hears(ANNOUNCED)
    return call


async def test_the_announcement_is_heard_to_its_end_and_then_the_request_goes_out(cluster, open_voice):
    async with open_voice(cluster, announce="before") as voice:
        call = await ring_and_ask(voice, transfer("support"))
        call.room._audio_source = SimpleNamespace(queued_duration=BUFFERED_SECONDS)
        (post,) = await asyncio.to_thread(cluster.wait_for_posts, call.call_id)
        assert post.at - call.mouth.spoken[0][0] > SENTENCE_SECONDS + BUFFERED_SECONDS - 0.1
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "submitted")
        assert call.heard == [ANNOUNCED]
        assert len(call.wits.requests) == 1, "the model adds nothing"


async def test_a_caller_who_interrupts_the_announcement_is_connected_at_once(cluster, open_voice):
    long_seconds = 6
    async with open_voice(cluster, announce="before") as voice:
        call = await ring_and_ask(voice, transfer("support"), say("Yes?"), sentence_seconds=long_seconds)
        await call.until(lambda: call.sounded_seconds > 0.2)
        await call.say("Thank you!")
        await asyncio.to_thread(cluster.wait_for_posts, call.call_id)
        assert call.sounded_seconds < long_seconds, "the sentence was cut off, not the request"


@pytest.mark.parametrize("how", ["hang_up", "drop"])
async def test_a_caller_who_hangs_up_during_the_announcement_has_asked_for_nothing(cluster, open_voice, how):
    async with open_voice(cluster, announce="before") as voice:
        call = await ring_and_ask(voice, transfer("support"))
        await getattr(call, how)()
        after = await ring_and_ask(voice, transfer("support"), sentence_seconds=SENTENCE_SECONDS + 0.5)
        await asyncio.to_thread(cluster.wait_for_posts, after.call_id)
        assert cluster.records(call.call_id) == []
        assert cluster.posts(call.call_id) == []


async def test_a_caller_who_changes_their_mind_in_time_is_not_moved(private_cluster, open_voice):
    cluster = private_cluster
    async with open_voice(cluster, announce="before") as voice:
        call = await ring_and_ask(voice, transfer("support"), call_tool("cancel_transfer"))
        await asyncio.to_thread(cluster.wait_for_state, call.call_id, "waiting")
        await call.say("Oh, never mind.")
        await call.hears("All right, I won't connect you")
        (record,) = cluster.records(call.call_id)
        assert record.state == "cancelled"
        await call.hears("Anything else")
