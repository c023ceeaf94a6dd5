"""Move a live call to an AI agent: `python trigger_agent_transfer.py CALL_ID`."""

import os
import sys

from dotenv import load_dotenv

from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import TransferPublisher

load_dotenv()
intent = TransferIntent(
    call_id=sys.argv[1],
    destination="agent:" + os.environ["SUPPORT_AGENT_ID"],
    caller_id=os.environ["PIOPIY_NUMBER"],
)
with TransferPublisher() as publisher:
    outcome = publisher.submit(intent).outcome()
print(outcome.state, outcome.guide.meaning)
