"""Fakes for voice teams: test an agent's transfers with no Redis, no worker and no platform.

::

    publisher = RecordingPublisher(ending(Reason.RATE_LIMITED), ending(Reason.ACCEPTED_BY_PLATFORM))
    async with TransferClient(publisher, choices=[…]) as transfers:
        …                                    # the first transfer fails, every later one is submitted
    assert publisher.intents[0].reason == "wants a refund"
"""

from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.testing.endings import ScriptedEnding, ending
from transfer_tasks.testing.publisher import RecordedTransfer, RecordingPublisher

__all__ = ["RecordedTransfer", "RecordingPublisher", "ScriptedEnding", "ending", "run_on_fake_time"]
