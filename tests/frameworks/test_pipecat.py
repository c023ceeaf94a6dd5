"""The Pipecat example runs as it is, with the real runner and pipeline; only the far ends are ours."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pipecat_piopiy.runner
import pytest
from pipecat.frames.frames import TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import BaseTransport

from frameworks.judging import check_that_it_was_busy, check_that_it_was_moved, check_tools
from frameworks.platform import room_message
from transfer_tasks.outcome import GUIDE, Reason
from voice.model import say, transfer

RATE = 16000


class Pass(FrameProcessor):
    """In the place of ears, and of the two ends of the line."""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class Mouth(TTSService):
    """In the place of text-to-speech: keeps what would have been spoken."""

    def __init__(self, caller: Any) -> None:
        super().__init__(sample_rate=RATE)
        self.caller = caller

    async def run_tts(self, text: str, context_id: str) -> Any:
        self.caller.hear(text)
        yield TTSStartedFrame(context_id=context_id)
        yield TTSAudioRawFrame(bytes(RATE // 50 * 2), RATE, 1, context_id=context_id)
        yield TTSStoppedFrame(context_id=context_id)


class Line(BaseTransport):
    """In the place of the LiveKit room: the caller is there as soon as the agent is."""

    opened: list[Line] = []  # noqa: RUF012 - shared on purpose: the runner makes the instances

    def __init__(self, url: str, token: str, room_name: str, params: Any = None) -> None:
        super().__init__()
        for event in (
            "on_connected",
            "on_data_received",
            "on_first_participant_joined",
            "on_participant_left",
        ):
            self._register_event_handler(event)
        self.ends = Pass(), Pass()
        self.opened.append(self)
        self._answering = asyncio.create_task(self.answer())

    def input(self) -> FrameProcessor:
        return self.ends[0]

    def output(self) -> FrameProcessor:
        return self.ends[1]

    async def answer(self) -> None:
        await self._call_event_handler("on_connected")

    async def let_in(self) -> None:
        await self._call_event_handler("on_first_participant_joined", "caller")

    async def tell(self, message: bytes) -> None:
        await self._call_event_handler("on_data_received", message, None)

    async def hang_up(self) -> None:
        await self._call_event_handler("on_participant_left", "caller", "left")


@pytest.fixture
async def agent(platform, load_example, monkeypatch):
    """The example's process."""
    example = load_example("pipecat_agent")
    real_services = example.build_services

    def build_services():
        ears, mind, mouth = real_services()  # they take these arguments, and would go on the net when started
        assert isinstance(ears, DeepgramSTTService)
        assert isinstance(mouth, CartesiaTTSService)
        return Pass(), mind, Mouth(next(reversed(platform.callers.values())))

    example.build_services = build_services
    monkeypatch.setattr(pipecat_piopiy.runner, "LiveKitTransport", Line)
    running = asyncio.create_task(example.main())
    yield platform
    for line in Line.opened:
        await line.hang_up()
    running.cancel()
    await asyncio.wait({running}, timeout=30)


async def hang_up(caller):
    await Line.opened[-1].hang_up()
    async with asyncio.timeout(60):
        await caller.is_over.wait()


async def test_the_agent_moves_its_caller(cluster, agent):
    caller = await agent.ring(transfer("support"))
    await Line.opened[-1].let_in()
    await caller.hears("connecting you")
    await check_that_it_was_moved(cluster, caller)
    await Line.opened[-1].tell(room_message(caller, "failed", reason="busy"))
    await check_that_it_was_busy(cluster, caller)
    await hang_up(caller)
    assert len(cluster.posts(caller.call_id)) == 1
    check_tools(agent.wits)


async def test_a_caller_who_interrupts_is_told_the_truth_and_goes_on(cluster, agent):
    call_id = str(uuid.uuid4())
    cluster.script(call_id, "503:2", "400")
    caller = await agent.ring(transfer("support"), say("How else can I help?"), call_id=call_id)
    await Line.opened[-1].let_in()
    await asyncio.to_thread(cluster.wait_for_posts, call_id, 1, 60)
    await Line.opened[-1].ends[0].broadcast_interruption()
    await caller.hears(GUIDE[Reason.REFUSED_BY_PLATFORM].say)
    await caller.hears("How else can I help?")
    await hang_up(caller)
    assert [post.carried_out for post in cluster.posts(call_id)] == [False, False]


def test_what_is_missing_is_said_in_one_line(missing_of):
    assert missing_of("pipecat_agent").endswith(
        "\nCARTESIA_VOICE_ID is not set. Put it into the environment, or into .env.\n"
    )
