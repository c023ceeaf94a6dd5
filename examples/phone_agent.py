"""A phone agent. Its calls can be transferred from outside: `python trigger_phone_transfer.py CALL_ID`.

pip install "call-transfer[agent]" "piopiy-ai[deepgram,openai,cartesia]"
"""

import asyncio
import os
import sys

from dotenv import load_dotenv
from piopiy.agent import Agent
from piopiy.services.cartesia.tts import CartesiaTTSService
from piopiy.services.deepgram.stt import DeepgramSTTService
from piopiy.services.openai.llm import OpenAILLMService
from piopiy.voice_agent import VoiceAgent

load_dotenv()


async def create_session(call_id):
    print("Call:", call_id, flush=True)
    agent = VoiceAgent(instructions="You are a helpful assistant.", greeting="Hello! How can I help you?")
    await agent.Action(
        stt=DeepgramSTTService(api_key=os.environ["DEEPGRAM_API_KEY"]),
        llm=OpenAILLMService(api_key=os.environ["OPENAI_API_KEY"]),
        tts=CartesiaTTSService(
            api_key=os.environ["CARTESIA_API_KEY"], voice_id=os.environ["CARTESIA_VOICE_ID"]
        ),
    )
    await agent.start()


if __name__ == "__main__":
    try:
        asyncio.run(Agent(os.environ["AGENT_ID"], os.environ["AGENT_TOKEN"], create_session).connect())
    except KeyError as missing:
        sys.exit(f"{missing.args[0]} is not set. Put it into the environment, or into .env.")
