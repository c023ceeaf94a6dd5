"""A phone agent that transfers its caller to a person when asked.

pip install "call-transfer[agent]" "piopiy-ai[deepgram,openai,cartesia]"
"""

import asyncio
import gc
import os
import sys

from dotenv import load_dotenv
from piopiy.agent import Agent
from piopiy.services.cartesia.tts import CartesiaTTSService
from piopiy.services.deepgram.stt import DeepgramSTTService
from piopiy.services.openai.llm import OpenAILLMService
from piopiy.voice_agent import VoiceAgent

from transfer_tasks.agent_tool import TransferTool
from transfer_tasks.errors import TransferTasksError
from transfer_tasks.voice import Choice, TransferClient

load_dotenv()


async def main():
    support = Choice(
        name="support",
        description="A person in customer support",
        to=os.environ["SUPPORT_NUMBER"],
        caller_id=os.environ["PIOPIY_NUMBER"],
    )
    async with TransferClient(choices=[support]) as transfers:
        gc.collect()
        gc.freeze()  # a full collection of what was imported would stop every call for a quarter of a second

        async def create_session(call_id):
            async with TransferTool(transfers, call_id) as transfer:
                agent = VoiceAgent(
                    instructions="You are a helpful assistant. Transfer callers who ask for a person.",
                    greeting="Hello! How can I help you?",
                )
                llm = OpenAILLMService(api_key=os.environ["OPENAI_API_KEY"])
                await agent.Action(
                    stt=DeepgramSTTService(api_key=os.environ["DEEPGRAM_API_KEY"]),
                    llm=llm,
                    tts=CartesiaTTSService(
                        api_key=os.environ["CARTESIA_API_KEY"], voice_id=os.environ["CARTESIA_VOICE_ID"]
                    ),
                )
                transfer.register(agent, llm)
                await agent.start()

        await Agent(os.environ["AGENT_ID"], os.environ["AGENT_TOKEN"], create_session).connect()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyError as missing:
        sys.exit(f"{missing.args[0]} is not set. Put it into the environment, or into .env.")
    except TransferTasksError as error:  # a wrong setting, or a destination that leads nowhere
        sys.exit(str(error))
