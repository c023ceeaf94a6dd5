"""What piopiy-ai 0.6.1 does: the facts that the tool is built on, and those that break the published how-to.

When a newer version fails here, read `transfer_tasks.agent_tool` and docs/how-tos.md again before going on.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version
from types import SimpleNamespace

import pytest
from livekit.rtc import AudioSource
from piopiy.adapters.schemas.function_schema import FunctionSchema
from piopiy.adapters.schemas.tools_schema import ToolsSchema
from piopiy.processors.frame_processor import FrameProcessor
from piopiy.services.openai.llm import OpenAILLMService
from piopiy.transports.services import telecmi
from piopiy.voice_agent import VoiceAgent

from transfer_tasks.agent_tool import TransferTool
from transfer_tasks.testing import RecordingPublisher
from transfer_tasks.voice import Choice, TransferClient, VoiceSettings
from voice.loopback import Loopback
from voice.model import call_tool, say

HUMAN = FunctionSchema("transfer_to_human", "Get a human", {"reason": {"type": "string"}}, ["reason"])


class Naive(Loopback):
    """A voice process whose sessions do what a how-to does: `add_tool`, and a handler of its own."""

    def __init__(self, handler):
        super().__init__(client=None)
        self.handler = handler

    async def create_session(self, call_id=None):
        call = self.calls[call_id]
        try:
            agent = VoiceAgent(instructions="Help the caller.")
            agent.add_tool(HUMAN, self.handler)
            llm = OpenAILLMService(model="m", api_key=call_id, base_url=f"{self.origin}/v1")
            await agent.Action(stt=call.ears, llm=llm, tts=call.mouth)
            await agent.start()
        finally:
            call.has_ended.set()


def test_the_version_is_the_one_that_was_read():
    assert version("piopiy-ai") == "0.6.1"


def test_a_schema_takes_no_parameters_argument():
    with pytest.raises(TypeError, match="parameters"):
        FunctionSchema(name="transfer_to_human", description="…", parameters={"type": "object"})


async def test_a_handler_gets_one_object_and_not_the_tools_arguments():
    seen = []

    async def handle_transfer(reason):
        seen.append(type(reason).__name__)

    async with Naive(handle_transfer) as voice:
        call = await voice.ring(call_tool("transfer_to_human", reason="billing"))
        await call.say("A person, please.")
        await call.until(lambda: seen)
    assert seen == ["FunctionCallParams"]


async def test_what_a_handler_returns_is_lost_and_the_caller_hears_nothing():
    async def handle_transfer(params):
        return "Transfer initiated"

    async with Naive(handle_transfer) as voice:
        call = await voice.ring(call_tool("transfer_to_human", reason="billing"))
        await call.say("A person, please.")
        await call.until(lambda: call.wits.tool_calls_at)
        await asyncio.sleep(1)
        assert call.heard == []
        assert len(call.wits.requests) == 1


@pytest.mark.parametrize("result", [None, "", {}, 0])
async def test_a_falsy_result_does_not_run_the_model_either(result):
    async def handle_transfer(params):
        await params.result_callback(result)

    async with Naive(handle_transfer) as voice:
        call = await voice.ring(call_tool("transfer_to_human", reason="billing"))
        await call.say("A person, please.")
        await call.until(lambda: call.wits.tool_calls_at)
        await asyncio.sleep(0.7)
        assert call.heard == []


async def test_a_handler_given_to_add_tool_is_cancelled_when_the_caller_speaks():
    ends = []

    async def handle_transfer(params):
        try:
            await asyncio.sleep(2)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("done")

    async with Naive(handle_transfer) as voice:
        call = await voice.ring(call_tool("transfer_to_human", reason="billing"), say("Yes?"))
        await call.say("A person, please.")
        await call.until(lambda: call.wits.tool_calls_at)
        await asyncio.sleep(0.2)
        await call.say("Hello?")
        await call.until(lambda: ends)
    assert ends == ["cancelled"]


async def test_a_global_call_id_moves_the_caller_who_came_last():
    moved = []
    active_call_id = None

    class Global(Naive):
        async def create_session(self, call_id=None):
            nonlocal active_call_id
            active_call_id = call_id
            await super().create_session(call_id)

    async def handle_transfer(params):
        moved.append(active_call_id)
        await params.result_callback("ok")

    async with Global(handle_transfer) as voice:
        first = await voice.ring(call_tool("transfer_to_human", reason="billing"))
        second = await voice.ring()
        await first.say("A person, please.")
        await first.until(lambda: moved)
    assert moved == [second.call_id]


async def test_keyword_arguments_that_a_session_does_not_name_are_not_passed():
    seen = {}

    class Greedy(Loopback):
        async def create_session(self, call_id=None, **kwargs):
            seen.update(kwargs)
            await super().create_session(call_id)

    async with open_client() as client, Greedy(client) as voice:
        await voice.ring()
    assert seen == {}


def open_client():
    settings = VoiceSettings(_env_file=None)
    choices = [Choice(name="support", description="A person")]
    return TransferClient(RecordingPublisher(), choices=choices, settings=settings)


async def prepare_agent(mcp_tools=None):
    """Return an agent and its LLM service, as far as they can be had without a room."""
    agent = VoiceAgent(instructions="Help.")
    llm = OpenAILLMService(model="m", api_key="k", base_url="http://127.0.0.1:9/v1")
    agent._llm, agent._mcp_client = llm, mcp_tools
    agent._transport = SimpleNamespace(output=FrameProcessor, _client=SimpleNamespace(setup=None))
    return agent, llm


async def test_registering_twice_or_with_mcp_tools_offers_the_tool_once_each():
    weather = FunctionSchema("weather", "The weather", {}, [])
    mcp_tools = ToolsSchema(standard_tools=[weather])
    agent, llm = await prepare_agent(mcp_tools)
    tool = TransferTool(open_client(), "call-id")
    tool.register(agent, llm)
    tool.register(agent, llm)
    assert [schema.name for schema in mcp_tools.standard_tools] == [
        "weather",
        "transfer_call",
        "cancel_transfer",
    ]
    assert not llm._functions["transfer_call"].cancel_on_interruption
    assert "transfer_call" not in agent._tool_handlers, "the agent would register it anew, to be cancelled"


async def test_registering_before_action_or_after_the_start_is_an_error_that_says_so():
    agent, llm = await prepare_agent()
    tool = TransferTool(open_client(), "call-id")
    agent._llm = None
    with pytest.raises(RuntimeError, match=r"after VoiceAgent\.Action"):
        tool.register(agent, llm)
    agent._llm, agent._task = llm, object()
    with pytest.raises(RuntimeError, match=r"before VoiceAgent\.start"):
        tool.register(agent, llm)


def test_the_room_says_how_much_of_what_it_was_given_it_has_not_played_yet():
    assert isinstance(AudioSource.queued_duration, property)
    room = telecmi.TelecmiTransportClient.__mro__[1]
    assert "_audio_source" in inspect.getsource(room.__init__)
    assert "_client" in inspect.getsource(telecmi.TelecmiOutputTransport.__init__)


def test_the_handler_takes_exactly_one_parameter():
    handler = TransferTool(open_client(), "call-id").handle
    assert len(inspect.signature(handler).parameters) == 1


def test_name_and_description_of_the_tool_are_the_teams_own():
    tool = TransferTool(open_client(), "call-id", name="hand_over", description="Hand over.")
    assert (tool.schema.name, tool.schema.description) == ("hand_over", "Hand over.")
