"""The transfer tool for a piopiy-ai agent (0.6.1); the only module that knows piopiy-ai.

::

    async def create_session(call_id=None):
        async with TransferTool(transfers, call_id) as transfer:    # transfers: one TransferClient a process
            agent = VoiceAgent(instructions="…")
            await agent.Action(stt=…, llm=llm, tts=…)
            transfer.register(agent, llm)
            await agent.start()
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from transfer_tasks.voice.environment import describe_problem
from transfer_tasks.voice.room import TOPIC

if problem := describe_problem():
    raise ImportError(f"transfer_tasks.agent_tool needs piopiy-ai: {problem}")

from piopiy.adapters.schemas.function_schema import FunctionSchema
from piopiy.frames.frames import (
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    DataFrame,
    FunctionCallResultProperties,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    TTSSpeakFrame,
    UserSpeakingFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from piopiy.frames.frames import Frame
    from piopiy.processors.frame_processor import FrameProcessor
    from piopiy.services.llm_service import FunctionCallParams, LLMService
    from piopiy.voice_agent import VoiceAgent

    from transfer_tasks.voice import TransferAnswer, TransferClient, TransferSession, Wording

    Handler = Callable[[FunctionCallParams], Awaitable[None]]

DESCRIPTION: Final = (
    "Ask for the caller to be connected to somebody else. Use it when the caller asks for it or needs what "
    "you can't give. The answer says what the caller has been told and what you should say. Accepted is "
    "not answered."
)
CANCEL_DESCRIPTION: Final = (
    "Take back a transfer that was just asked for, when the caller has changed their mind. It works until "
    "the request has left; the answer says whether it did."
)
NARRATE: Final = (
    "Before you call it, tell the caller in one sentence that you are connecting them. Then say what the "
    "answer gives you as say_to_caller, in the caller's language, and no more than that."
)
"""What a model is told that speaks for itself."""

_SPEECH: Final = (
    BotStartedSpeakingFrame,
    BotSpeakingFrame,
    BotStoppedSpeakingFrame,
    UserStartedSpeakingFrame,
    UserSpeakingFrame,
    UserStoppedSpeakingFrame,
)


class TransferTool:
    """The transfers of one call, as a tool of its agent. Use it as an async context manager.

    Args:
        client: Shared by all sessions of the process.
        call_id: The call, as `create_session` was given it; never a global.
        wording: What this caller hears, if it is not the client's: in their language, say.
        name: What the model calls the tool.
        description: When the model should use it.
        cancel_name: What the model calls the tool that takes a transfer back; None for no such tool.
        narration: Who speaks: the session, through the agent's text-to-speech, or the ``model`` itself, which
            gets the sentences to say. A speech-to-speech model has no other voice.
    """

    def __init__(
        self,
        client: TransferClient,
        call_id: str | None,
        *,
        wording: Wording | None = None,
        name: str = "transfer_call",
        description: str = DESCRIPTION,
        cancel_name: str | None = "cancel_transfer",
        narration: Literal["session", "model"] = "session",
    ) -> None:
        self.session = client.session(call_id, wording=wording)
        self._speech = _AgentSpeech(self.session)
        self._say = self._speech.say if narration == "session" else None
        self.schema = FunctionSchema(
            name=name,
            description=description if self._say else f"{description} {NARRATE}",
            properties=client.tool_properties(),
            required=["destination", "reason"],
        )
        self.tools: dict[str, tuple[FunctionSchema, Handler]] = {name: (self.schema, self.handle)}
        if cancel_name:
            schema = FunctionSchema(
                name=cancel_name, description=CANCEL_DESCRIPTION, properties={}, required=[]
            )
            self.tools[cancel_name] = (schema, self.handle_cancel)

    def register(self, agent: VoiceAgent, llm: LLMService) -> None:
        """Give the tools to an agent and its LLM service, beside the tools they have.

        Raises:
            RuntimeError: `VoiceAgent.Action` has not been called with this LLM service, or the agent has
                started: the model would never see the tool.
        """
        # 0.6.1 has no public way to add a schema without a handler, and `add_tool` registers its handler so
        # that it is cancelled when the caller speaks (VoiceAgent._build_task, LLMService.register_function).
        if agent._llm is not llm or agent._task is not None:  # noqa: SLF001
            raise RuntimeError(
                "Register the tool after VoiceAgent.Action(llm=…) and before VoiceAgent.start()."
            )
        mcp_tools = agent._mcp_client  # noqa: SLF001 - where there are any, they replace all others
        for name, (schema, handle) in self.tools.items():
            agent._tool_schemas[name] = schema  # noqa: SLF001
            if mcp_tools is not None and schema not in mcp_tools.standard_tools:
                mcp_tools.standard_tools.append(schema)
            llm.register_function(name, handle, cancel_on_interruption=False)
        self._speech.listen(llm, agent._transport.output())  # noqa: SLF001 - `Action` has made it
        _listen_in_room(agent._transport._client, self.session)  # noqa: SLF001 - no public way to its room

    async def handle(self, params: FunctionCallParams) -> None:
        """Answer one call of the tool by the model. Takes exactly one parameter, as 0.6.1 demands."""
        arguments = params.arguments if isinstance(params.arguments, Mapping) else {}
        asking = self.session.transfer(
            arguments.get("destination"), reason=arguments.get("reason"), say=self._say
        )
        await self._give_back(params, asking)

    async def handle_cancel(self, params: FunctionCallParams) -> None:
        """Answer one call of the tool that takes a transfer back."""
        await self._give_back(params, self.session.cancel(say=self._say))

    async def _give_back(self, params: FunctionCallParams, asking: Awaitable[TransferAnswer]) -> None:
        self._speech.open_answers += 1
        try:
            answer = await asking
            # None leaves it to the SDK, which runs the model once no other tool call is open.
            properties = FunctionCallResultProperties(run_llm=False) if answer.ends_conversation else None
            await params.result_callback(answer.for_model(), properties=properties)
        finally:
            self._speech.open_answers -= 1

    async def __aenter__(self) -> Self:
        await self.session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.__aexit__(kind, error, trace)


@dataclass
class _EndOfSentence(DataFrame):  # type: ignore[misc]  # the vendor's is untyped
    """Follows a sentence through the pipeline; the transport passes it on when that has been heard."""

    has_passed: bool = False
    has_sounded: bool = False
    is_cut_off: bool = False
    is_over: asyncio.Event = field(default_factory=asyncio.Event)


class _AgentSpeech:
    """An agent's voice, as its pipeline knows it (piopiy-ai 0.6.1): who speaks, when a sentence ends.

    Most services hold back what follows a sentence until it is spoken; some let it overtake the sound. So a
    sentence is over once its end has passed and something has sounded since, or what sounded then stops; or
    once the caller interrupts it.

    Attributes:
        open_answers: How many calls of the tools the model still waits for.
    """

    def __init__(self, session: TransferSession) -> None:
        self._session = session
        self._llm: LLMService | None = None
        self._output: FrameProcessor | None = None
        self._spoken: list[_EndOfSentence] = []
        self.open_answers = 0

    def listen(self, llm: LLMService, output: FrameProcessor) -> None:
        """Follow what an agent's transport passes on; once, however often the tool is registered."""
        if self._llm is not llm:
            self._llm, self._output = llm, output
            output.add_event_handler("on_after_push_frame", self._note)

    async def say(self, text: str) -> Awaitable[object]:
        """Hand over a sentence; return what is done when it is over."""
        assert self._llm is not None  # noqa: S101 - the model has the tool from `listen` on
        end = _EndOfSentence()
        self._spoken.append(end)
        if not self.open_answers:  # what was said meanwhile, the tool's answer tells; this, nothing else does
            message = {"role": "assistant", "content": text}
            await self._llm.push_frame(LLMMessagesAppendFrame([message], run_llm=False))
        await self._llm.push_frame(TTSSpeakFrame(text))
        await self._llm.push_frame(end)
        return self._hear(end)

    async def _hear(self, end: _EndOfSentence) -> None:
        await end.is_over.wait()
        if not end.is_cut_off:  # what was passed on may still lie in the room's buffer, up to a second of it
            await asyncio.sleep(_buffered_seconds(self._output))

    def _note(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, _SPEECH):
            self._session.note_speech()
        if isinstance(frame, BotStartedSpeakingFrame | BotSpeakingFrame):
            for end in self._spoken:
                end.has_sounded = True
        elif isinstance(frame, _EndOfSentence):
            frame.has_passed = True
            self._finish(lambda end: end is frame and end.has_sounded)
        elif isinstance(frame, BotStoppedSpeakingFrame):
            self._finish(lambda end: end.has_passed)
        elif isinstance(frame, InterruptionFrame):
            for end in self._spoken:
                end.is_cut_off = True
            self._finish(lambda _: True)

    def _finish(self, is_over: Callable[[_EndOfSentence], bool]) -> None:
        for end in filter(is_over, self._spoken):
            end.is_over.set()
        self._spoken = [end for end in self._spoken if not end.is_over.is_set()]


def _buffered_seconds(output: Any) -> float:
    source = getattr(getattr(output, "_client", None), "_audio_source", None)
    return float(source.queued_duration) if source is not None else 0.0


def _listen_in_room(client: Any, session: TransferSession) -> None:
    """Hear in the call's room what the platform says of transfers.

    By a listener of our own: 0.6.1's hands on `data.participant.sid`, and the platform's packets have no
    participant, so that its `on_data_received` never hears them. The room is made in `setup`; its `connected`
    event, for which there is a handler, never fires (livekit 1.0.25).
    """
    set_up, heard_rooms = client.setup, []

    def hear(packet: Any) -> None:
        if packet.participant is None and packet.topic == TOPIC:  # nobody in the room can send such a one
            session.platform_status(packet.data)

    async def set_up_and_listen(setup: Any) -> None:
        await set_up(setup)
        if client.room not in heard_rooms:  # input and output both set it up
            heard_rooms.append(client.room)
            client.room.on("data_received", hear)

    client.setup = set_up_and_listen
