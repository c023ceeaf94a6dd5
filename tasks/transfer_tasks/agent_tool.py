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

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from transfer_tasks.voice.environment import describe_problem

if problem := describe_problem():
    raise ImportError(f"transfer_tasks.agent_tool needs piopiy-ai: {problem}")

from piopiy.adapters.schemas.function_schema import FunctionSchema
from piopiy.frames.frames import FunctionCallResultProperties, TTSSpeakFrame

if TYPE_CHECKING:
    from types import TracebackType

    from piopiy.services.llm_service import FunctionCallParams, LLMService
    from piopiy.voice_agent import VoiceAgent

    from transfer_tasks.voice import TransferClient

DESCRIPTION: Final = (
    "Transfer the caller to somebody else. Use it when the caller asks for it or needs what you can't give. "
    "The caller hears by itself that the transfer is on its way, and how it ended."
)


class TransferTool:
    """The transfers of one call, as a tool of its agent. Use it as an async context manager.

    Args:
        client: Shared by all sessions of the process.
        call_id: The call, as `create_session` was given it; never a global.
        name: What the model calls the tool.
        description: When the model should use it.
    """

    def __init__(
        self,
        client: TransferClient,
        call_id: str | None,
        *,
        name: str = "transfer_call",
        description: str = DESCRIPTION,
    ) -> None:
        self.session = client.session(call_id)
        self.schema = FunctionSchema(
            name=name,
            description=description,
            properties=client.tool_properties(),
            required=["destination", "reason"],
        )

    def register(self, agent: VoiceAgent, llm: LLMService) -> None:
        """Give the tool to an agent and its LLM service, beside the tools they have.

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
        agent._tool_schemas[self.schema.name] = self.schema  # noqa: SLF001
        mcp_tools = agent._mcp_client  # noqa: SLF001 - where there are any, they replace all others
        if mcp_tools is not None and self.schema not in mcp_tools.standard_tools:
            mcp_tools.standard_tools.append(self.schema)
        llm.register_function(self.schema.name, self.handle, cancel_on_interruption=False)

    async def handle(self, params: FunctionCallParams) -> None:
        """Answer one call of the tool by the model. Takes exactly one parameter, as 0.6.1 demands."""

        async def say(text: str) -> None:
            await params.llm.push_frame(TTSSpeakFrame(text))

        arguments = params.arguments if isinstance(params.arguments, Mapping) else {}
        answer = await self.session.transfer(
            _text(arguments, "destination"), reason=_text(arguments, "reason"), say=say
        )
        # None leaves it to the SDK, which runs the model once no other tool call is open.
        properties = FunctionCallResultProperties(run_llm=False) if answer.ends_conversation else None
        await params.result_callback(answer.for_model(), properties=properties)

    async def __aenter__(self) -> Self:
        await self.session.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.__aexit__(kind, error, trace)


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    return value if isinstance(value, str) else ""
