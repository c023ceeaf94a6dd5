"""A LiveKit agent on Piopiy that transfers its caller to a person when asked.

pip install call-transfer livekit-piopiy "livekit-agents[deepgram,openai,cartesia,silero]==1.8.*"
"""

import asyncio
import gc
import os
import sys

from dotenv import load_dotenv
from livekit.agents import Agent, AgentSession, RunContext, StopResponse, function_tool
from livekit.plugins import cartesia, deepgram, openai, silero
from livekit_piopiy import PiopiyCallControl, PiopiyRunner, attach_transfer_status, piopiy_tools

from transfer_tasks.errors import TransferTasksError
from transfer_tasks.voice import Choice, TransferClient

load_dotenv()

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "CARTESIA_VOICE_ID")
INSTRUCTIONS = "You are a helpful assistant on the phone. Transfer callers who ask for a person."


def build_conversation():
    """Return what hears, what thinks and what speaks."""
    return AgentSession(
        stt=deepgram.STT(api_key=os.environ["DEEPGRAM_API_KEY"]),
        llm=openai.LLM(model="gpt-4o-mini", api_key=os.environ["OPENAI_API_KEY"]),
        tts=cartesia.TTS(api_key=os.environ["CARTESIA_API_KEY"], voice=os.environ["CARTESIA_VOICE_ID"]),
        vad=silero.VAD.load(),
    )


def build_transfer_tool(transfers, session):
    """Return the tool for one call: the model names a destination, and nothing else is dialled."""
    properties = transfers.tool_properties()
    schema = {
        "name": "transfer_call",
        "description": "Transfer the caller to somebody else. The caller is told by itself how it goes.",
        "parameters": {"type": "object", "properties": properties, "required": list(properties)},
    }

    @function_tool(raw_schema=schema)
    async def transfer_call(raw_arguments: dict[str, object], context: RunContext):
        async def say(text):
            return context.session.say(text)  # awaited for the end of the sentence

        context.disallow_interruptions()
        answer = await session.transfer(
            raw_arguments.get("destination"), reason=raw_arguments.get("reason", ""), say=say
        )
        if answer.ends_conversation:
            raise StopResponse
        return answer.for_model()

    return transfer_call


def build_bot(transfers):
    """Return what runs for each call."""

    async def bot(room, call):
        # `start` returns at once, so the end of the call is waited for inside of the session.
        async with transfers.session(call.call_id) as session:
            # Of Piopiy's own tools only this one: a second `transfer_call` would move calls past the queue.
            control = PiopiyCallControl(call, token=os.environ["AGENT_TOKEN"])
            end_call = next(tool for tool in piopiy_tools(control).tools if tool.info.name == "end_call")
            agent = Agent(
                instructions=INSTRUCTIONS, tools=[build_transfer_tool(transfers, session), end_call]
            )
            conversation = build_conversation()
            # Who picks up, or why not: the session tells the caller, so this one is silent.
            attach_transfer_status(call, conversation, narrate=False, on_status=session.platform_status)
            await conversation.start(agent=agent, room=room)
            conversation.generate_reply(instructions="Greet the caller.")
            await call.wait_for_end()
        await conversation.aclose()
        await control.close()

    return bot


async def main():
    """Serve calls until the process is stopped."""
    for name in KEYS:
        os.environ[name]  # missing: better known now than with a caller on the line
    support = Choice(
        name="support",
        description="A person in customer support",
        to=os.environ["SUPPORT_NUMBER"],
        caller_id=os.environ["PIOPIY_NUMBER"],
    )
    async with TransferClient(choices=[support]) as transfers:
        gc.collect()
        gc.freeze()  # a full collection of what was imported would stop every call for a quarter of a second
        runner = PiopiyRunner(agent_id=os.environ["AGENT_ID"], token=os.environ["AGENT_TOKEN"])
        await runner.serve(build_bot(transfers))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyError as missing:
        sys.exit(f"{missing.args[0]} is not set. Put it into the environment, or into .env.")
    except TransferTasksError as error:  # a wrong setting, or a destination that leads nowhere
        sys.exit(str(error))
