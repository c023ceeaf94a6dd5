"""A whole voice process on 127.0.0.1; only the room, the ears, the mouth and the wits are fake.

Real: piopiy-ai's `Agent` and its Socket.IO signalling, `VoiceAgent` and its pipeline, `OpenAILLMService` over
HTTP with streamed answers, the function-call machinery, `TTSService`'s handling of text and interruptions.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import socketio
from aiohttp import web
from livekit import rtc
from piopiy.agent import Agent
from piopiy.frames.frames import TranscriptionFrame, TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame
from piopiy.processors.frame_processor import FrameProcessor
from piopiy.services.openai.llm import OpenAILLMService
from piopiy.services.tts_service import TTSService
from piopiy.transports.services import telecmi
from piopiy.voice_agent import VoiceAgent

from transfer_tasks.agent_tool import TransferTool
from voice.model import Step, Wits, stream_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_tasks.voice import TransferClient

AUDIO_RATE = 24000
SHORT_SECONDS = 0.02
"""What a sentence takes where a test is not about that."""

SETTLING_SECONDS = 0.1
"""From the caller's joining until every processor of the pipeline has started."""


class FakeRoom(telecmi.TelecmiTransportClient):
    """In the place of the LiveKit room: the caller is there from the start; their audio goes nowhere."""

    calls: dict[str, Call] = {}  # noqa: RUF012 - shared on purpose: the SDK makes the instances

    def __init__(self, url: str, token: str, room_name: str, *rest: Any) -> None:
        super().__init__(url, token, room_name, *rest)
        self.call = self.calls[room_name]
        self.call.room = self

    async def setup(self, setup: Any) -> None:
        if self._task_manager is None:
            self._task_manager = setup.task_manager
            self._room = rtc.EventEmitter()
            self._room.on("data_received", self._on_data_received_wrapper)

    async def connect(self) -> None:
        if not self._connected:
            self._connected = True
            await self._callbacks.on_first_participant_joined("PA_caller")
            asyncio.get_running_loop().call_later(SETTLING_SECONDS, self.call.is_live.set)

    async def disconnect(self) -> None:
        self._connected = False

    async def publish_audio(self, frame: Any) -> None:
        seconds = frame.samples_per_channel / frame.sample_rate
        if self.call.mouth.sentence_seconds > SHORT_SECONDS:  # as the room: sound takes its time
            await asyncio.sleep(seconds)
        self.call.sounded_seconds += seconds

    def hear(self, message: bytes, *, topic: str = "transfer_status", participant: Any = None) -> None:
        """Do what the room does when a packet comes; the platform's have no participant."""
        packet = rtc.DataPacket(data=message, kind=1, participant=participant, topic=topic)
        self._room.emit("data_received", packet)

    async def lose_caller(self) -> None:
        """Do what the room does when the caller's leg ends."""
        await self._callbacks.on_participant_disconnected("PA_caller")


telecmi.TelecmiTransportClient = FakeRoom


class Ears(FrameProcessor):
    """In the place of speech-to-text."""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)

    async def hear(self, text: str) -> None:
        await self.push_frame(TranscriptionFrame(text=text, user_id="caller", timestamp="now"))


class Mouth(TTSService):
    """In the place of text-to-speech: keeps what would have been spoken."""

    def __init__(self) -> None:
        super().__init__(sample_rate=AUDIO_RATE)
        self.spoken: list[tuple[float, str]] = []
        self.clock: Callable[[], float] = time.time
        self.sentence_seconds = SHORT_SECONDS

    async def run_tts(self, text: str) -> Any:
        self.spoken.append((self.clock(), text.strip()))
        yield TTSStartedFrame()
        audio = bytes(int(AUDIO_RATE * self.sentence_seconds) * 2)
        yield TTSAudioRawFrame(audio=audio, sample_rate=AUDIO_RATE, num_channels=1)
        yield TTSStoppedFrame()


@dataclass
class Call:
    """One live call, seen from the caller's end."""

    platform: Platform
    call_id: str
    wits: Wits
    ears: Ears = field(default_factory=Ears)
    mouth: Mouth = field(default_factory=Mouth)
    is_live: asyncio.Event = field(default_factory=asyncio.Event)
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)
    room: FakeRoom | None = None
    agent: VoiceAgent | None = None
    sounded_seconds: float = 0.0

    @property
    def room_name(self) -> str:
        return f"room-{self.call_id}"

    @property
    def heard(self) -> list[str]:
        """What the caller would have heard so far."""
        return [text for _, text in self.mouth.spoken]

    async def say(self, text: str) -> None:
        await self.ears.hear(text)

    async def model_knows(self, count: int) -> None:
        """Wait until so many answers of tools are in the model's context.

        With 0.6.1 an interruption may drop one on its way: the model then sees `IN_PROGRESS` for good.
        """
        assert self.agent is not None
        context = self.agent.context_aggregator.user().context

        def answers() -> list[str]:
            tools = [message for message in context.messages if message["role"] == "tool"]
            return [message["content"] for message in tools if message["content"] != "IN_PROGRESS"]

        await self.until(lambda: len(answers()) >= count, 30, what=lambda: f"{context.messages}")

    async def hears(self, pattern: str, *, within_seconds: float = 60.0) -> float:
        """Wait until the caller hears something that matches; return when it began."""
        return await self.until(
            lambda: next((at for at, text in self.mouth.spoken if re.search(pattern, text)), 0.0),
            within_seconds,
            what=lambda: f"{pattern!r}; heard {self.heard}",
        )

    async def until(
        self, condition: Callable[[], Any], within_seconds: float = 60.0, *, what: Callable[[], str] = str
    ) -> Any:
        """Wait until something is true of this call."""
        deadline = time.monotonic() + within_seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {within_seconds:g} s: {what()}"
            await asyncio.sleep(0.005)
        return found

    async def hang_up(self) -> None:
        """End the caller's leg as the platform does: the signalling cancels the room."""
        await self.platform.sio.emit("cancel_room", {"room_name": self.room_name})
        async with asyncio.timeout(60):
            await self.has_ended.wait()

    async def drop(self) -> None:
        """End the caller's leg as the room sees it: the participant is gone."""
        assert self.room is not None
        await self.room.lose_caller()
        async with asyncio.timeout(60):
            await self.has_ended.wait()


class Platform:
    """The far ends of a voice process: the signalling server, and the model's address.

    Attributes:
        origin: The root of both.
    """

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(async_mode="aiohttp")
        self.calls: dict[str, Call] = {}
        self.origin = ""
        self._has_agent = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer_as_model)
        self.sio.attach(app)
        self.sio.on("connect", self._connect)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def wait_for_agent(self) -> None:
        async with asyncio.timeout(60):
            await self._has_agent.wait()

    async def ring(self, *script: Step, call_id: str | None = None) -> Call:
        """Let a caller in, whose model will answer by the script; return once the agent listens."""
        call = Call(self, call_id or str(uuid.uuid4()), Wits(list(script)))
        self.calls[call.call_id] = FakeRoom.calls[call.room_name] = call
        invitation = {
            "room_name": call.room_name,
            "token": "room-token",
            "url": "ws://nowhere",
            "call_id": call.call_id,
            "from_number": "12025550177",
            "metadata": "{}",
        }
        await self.sio.emit("join_room", invitation)
        async with asyncio.timeout(60):
            await call.is_live.wait()
        return call

    async def _connect(self, _sid: str, _environ: Any, auth: Any) -> None:
        assert auth == {"agent_id": "agent-id", "token": "agent-token"}
        self._has_agent.set()

    async def _answer_as_model(self, request: web.Request) -> web.StreamResponse:
        call = self.calls[request.headers["Authorization"].removeprefix("Bearer ")]
        return await stream_answer(request, call.wits.think(await request.json()))


class Loopback(Platform):
    """One voice process: `async with Loopback(client) as voice: call = await voice.ring(…)`.

    Args:
        client: What the sessions transfer with.
        equip: Gives the agent of each call further tools, before `Action`.
        mcp_tools: What an MCP client would have returned, for each call.
    """

    def __init__(
        self,
        client: TransferClient,
        *,
        equip: Callable[[VoiceAgent], None] = lambda _: None,
        mcp_tools: Callable[[OpenAILLMService], Any] = lambda _: None,
    ) -> None:
        super().__init__()
        self.client = client
        self.faults: list[BaseException] = []
        self._equip, self._mcp_tools = equip, mcp_tools

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.agent = Agent("agent-id", "agent-token", self.create_session, signaling_url=self.origin)
        self._agent_task = asyncio.create_task(self.agent.connect())
        await self.wait_for_agent()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.shutdown()
        self._agent_task.cancel()
        await asyncio.gather(self._agent_task, return_exceptions=True)
        await super().__aexit__()
        assert not self.faults, self.faults

    async def create_session(self, call_id: str | None = None) -> None:
        call = self.calls[str(call_id)]
        try:
            async with TransferTool(self.client, call_id) as tool:
                agent = call.agent = VoiceAgent(instructions="Help the caller.")
                self._equip(agent)
                llm = OpenAILLMService(model="scripted", api_key=call_id, base_url=f"{self.origin}/v1")
                await agent.Action(stt=call.ears, llm=llm, tts=call.mouth, mcp_tools=self._mcp_tools(llm))
                tool.register(agent, llm)
                await agent.start()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.faults.append(error)
            raise
        finally:
            call.has_ended.set()
