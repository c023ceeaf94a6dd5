"""The LiveKit example runs as it is, with the real runner and session; only the far ends are ours."""

from __future__ import annotations

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any

import livekit_piopiy.runner
import pytest
from livekit.agents import AgentSession
from livekit.agents.voice.io import TextOutput
from livekit.plugins import cartesia, deepgram, silero

from frameworks.judging import check_that_it_was_busy, check_that_it_was_moved, check_tools
from frameworks.platform import room_message
from transfer_tasks.outcome import GUIDE, Reason
from voice.model import say, transfer


class Ear(TextOutput):
    """In the place of what is played to the caller: what would have been spoken."""

    def __init__(self, caller: Any) -> None:
        super().__init__(label="ear", next_in_chain=None)
        self._caller, self._sentence = caller, ""

    async def capture_text(self, text: str) -> None:
        self._sentence += text

    def flush(self) -> None:
        if self._sentence:
            self._caller.hear(self._sentence)
        self._sentence = ""


class Room:
    """In the place of the LiveKit room: there at once; the caller in it can only leave."""

    opened: list[Room] = []  # noqa: RUF012 - shared on purpose: the runner makes the instances

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}
        self.opened.append(self)

    def on(self, event: str) -> Any:
        return lambda handler: self._handlers.setdefault(event, handler)

    async def connect(self, *_: Any) -> None:
        pass

    async def disconnect(self) -> None:
        pass

    def tell(self, message: bytes) -> None:
        self._handlers["data_received"](SimpleNamespace(data=message, participant=None))

    def hang_up(self) -> None:
        self._handlers["disconnected"]()


@pytest.fixture
async def agent(platform, load_example, monkeypatch):
    """The example's process."""

    class Conversation(AgentSession):
        def __init__(self, *, stt: Any, llm: Any, tts: Any, vad: Any) -> None:
            # They take the example's arguments, and would go on the net when started.
            assert isinstance(stt, deepgram.STT)
            assert isinstance(tts, cartesia.TTS)
            assert isinstance(vad, silero.VAD)
            super().__init__(llm=llm)

        async def start(self, agent: Any, *, room: Any) -> None:
            self.output.transcription = Ear(next(reversed(platform.callers.values())))
            await super().start(agent)

    example = load_example("livekit_agent")
    example.AgentSession = Conversation
    monkeypatch.setattr(livekit_piopiy.runner.rtc, "Room", Room)
    running = asyncio.create_task(example.main())
    yield platform
    for room in Room.opened:
        room.hang_up()
    running.cancel()
    await asyncio.wait({running}, timeout=30)


async def hang_up(caller):
    Room.opened[-1].hang_up()
    async with asyncio.timeout(60):
        await caller.is_over.wait()


async def test_the_agent_moves_its_caller(cluster, agent):
    caller = await agent.ring(transfer("support"))
    await caller.hears("connecting you")
    await check_that_it_was_moved(cluster, caller)
    Room.opened[-1].tell(room_message(caller, "failed", reason="busy"))
    await check_that_it_was_busy(cluster, caller)
    await hang_up(caller)
    assert len(cluster.posts(caller.call_id)) == 1
    check_tools(agent.wits)


async def test_where_nothing_was_moved_the_conversation_goes_on(cluster, agent):
    call_id = str(uuid.uuid4())
    cluster.script(call_id, "503:2", "400")
    caller = await agent.ring(transfer("support"), say("How else can I help?"), call_id=call_id)
    await caller.hears(GUIDE[Reason.REFUSED_BY_PLATFORM].say)
    await caller.hears("How else can I help?")
    await hang_up(caller)
    assert [post.carried_out for post in cluster.posts(call_id)] == [False, False]


def test_what_is_missing_is_said_in_one_line(missing_of):
    assert (
        missing_of("livekit_agent")
        == "CARTESIA_VOICE_ID is not set. Put it into the environment, or into .env.\n"
    )
