"""A Pipecat agent on Piopiy that transfers its caller to a person when asked.

pip install call-transfer pipecat-piopiy "pipecat-ai[deepgram,openai,cartesia]==1.14.*"
"""

import asyncio
import gc
import os
import sys

from dotenv import load_dotenv
from pipecat.adapters.llm.schemas.direct_function import tool_options
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import FunctionCallResultProperties, LLMRunFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.workers.runner import WorkerRunner
from pipecat_piopiy import PiopiyCallControl, PiopiyEventsProcessor, PiopiyRunner, piopiy_tools

from transfer_tasks.errors import TransferTasksError
from transfer_tasks.voice import Choice, TransferClient

load_dotenv()

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "CARTESIA_VOICE_ID")
INSTRUCTIONS = "You are a helpful assistant on the phone. Transfer callers who ask for a person."


def build_services():
    """Return what hears, what thinks and what speaks."""
    ears = DeepgramSTTService(api_key=os.environ["DEEPGRAM_API_KEY"])
    mind = OpenAILLMService(api_key=os.environ["OPENAI_API_KEY"])
    mouth = CartesiaTTSService(
        api_key=os.environ["CARTESIA_API_KEY"],
        settings=CartesiaTTSService.Settings(voice=os.environ["CARTESIA_VOICE_ID"]),
    )
    return ears, mind, mouth


def build_transfer_tool(transfers, session):
    """Return the tool for one call: the model names a destination, and nothing else is dialled."""

    # A caller who interrupts stops no transfer that is under way, so they must not stop its answer either.
    @tool_options(cancel_on_interruption=False)
    async def transfer_call(params):
        async def say(text):
            await params.llm.push_frame(TTSSpeakFrame(text))

        answer = await session.transfer(
            params.arguments.get("destination"), reason=params.arguments.get("reason", ""), say=say
        )
        quiet = FunctionCallResultProperties(run_llm=False) if answer.ends_conversation else None
        await params.result_callback(answer.for_model(), properties=quiet)

    properties = transfers.tool_properties()
    return FunctionSchema(
        name="transfer_call",
        description="Transfer the caller to somebody else. The caller is told by itself how it goes.",
        properties=properties,
        required=list(properties),
        handler=transfer_call,
    )


def build_bot(transfers):
    """Return what runs for each call."""

    async def bot(transport, call):
        ears, mind, mouth = build_services()
        # The session lasts as long as the pipeline runs, and that is as long as the call.
        async with transfers.session(call.call_id) as session:
            transfer = build_transfer_tool(transfers, session)
            # Of Piopiy's own tools only this one: a second `transfer_call` would move calls past the queue.
            control = PiopiyCallControl(call, token=os.environ["AGENT_TOKEN"])
            end_call = piopiy_tools(control).end_call_schema
            context = LLMContext(
                messages=[{"role": "system", "content": INSTRUCTIONS}],
                tools=ToolsSchema(standard_tools=[transfer, end_call]),
            )
            listening = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
            aggregators = LLMContextAggregatorPair(context, user_params=listening)
            worker = PipelineWorker(
                Pipeline(
                    [
                        transport.input(),
                        # Who picks up, or why not: the session tells the caller, so this one is silent.
                        PiopiyEventsProcessor(call, narrate=False, on_status=session.platform_status),
                        ears,
                        aggregators.user(),
                        mind,
                        mouth,
                        transport.output(),
                        aggregators.assistant(),
                    ]
                )
            )

            @transport.event_handler("on_first_participant_joined")
            async def greet(_transport, _participant):
                await worker.queue_frames([LLMRunFrame()])

            @transport.event_handler("on_participant_left")
            async def leave(_transport, _participant, _reason):
                await worker.cancel()

            runner = WorkerRunner(handle_sigint=False)
            await runner.add_workers(worker)
            await runner.run()
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
