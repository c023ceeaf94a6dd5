"""What the caller hears on the real agent SDK, second by second: the table of docs/voice.md.

Every ending, each word of the platform, and both timings of it. A sentence is three seconds of audio, and the
SDK's clock jumps wherever it only waits: so the seconds are exact.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.calling import client_of
from support.course import SENTENCE_SECONDS, as_table, list_scenarios
from voice.fake_time import run_on_fake_time
from voice.loopback import Loopback
from voice.model import say, transfer

VOICE = (Path(__file__).parents[2] / "docs" / "voice.md").read_text(encoding="utf-8")
CALL_SECONDS = 45.0


async def live(scenario):
    """Live through one call whose model says nothing of its own; return what is heard since its tool call."""
    clock = asyncio.get_running_loop().time
    async with client_of(scenario.script, announce="before") as (client, _), Loopback(client) as voice:
        call = await voice.ring(transfer("support"), *[say("")] * 20)
        call.mouth.sentence_seconds = SENTENCE_SECONDS
        call.mouth.clock = call.wits.clock = clock
        await call.say("A person, please.")
        await asyncio.sleep(CALL_SECONDS)
        (asked_at,) = call.wits.tool_calls_at
        heard = [(at - asked_at, text) for at, text in call.mouth.spoken]
        assert call.sounded_seconds == pytest.approx(SENTENCE_SECONDS * len(heard)), "each is heard whole"
        await call.hang_up()
        return heard


def test_the_table_of_what_the_caller_hears_second_by_second_is_what_the_sdk_lets_them_hear():
    table = as_table({scenario.name: run_on_fake_time(live(scenario)) for scenario in list_scenarios()})
    print(table)
    assert table in VOICE
