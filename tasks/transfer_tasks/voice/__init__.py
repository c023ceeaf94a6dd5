"""Transfers for voice sessions of any framework: one `TransferClient` a process, one session a call.

::

    async with TransferClient() as transfers:                           # once, at the start
        async with transfers.session(call_id) as session:               # once a call
            answer = await session.transfer("support", reason="…", say=speak)   # in the tool's handler
            return answer.for_model()

`transfer_tasks.agent_tool` does this for piopiy-ai; docs/voice.md shows it for Pipecat and LiveKit.
"""

from transfer_tasks.voice.choices import Choice
from transfer_tasks.voice.client import TransferClient
from transfer_tasks.voice.session import TransferSession
from transfer_tasks.voice.settings import VoiceSettings
from transfer_tasks.voice.wording import Phrase, SessionReason, TransferAnswer, Wording

__all__ = [
    "Choice",
    "Phrase",
    "SessionReason",
    "TransferAnswer",
    "TransferClient",
    "TransferSession",
    "VoiceSettings",
    "Wording",
]
