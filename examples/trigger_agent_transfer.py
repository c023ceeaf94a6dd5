"""Move a live call to an AI agent: `python trigger_agent_transfer.py CALL_ID`."""

import os
import sys

from dotenv import load_dotenv

from transfer_tasks.errors import TransferTasksError
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import TransferPublisher

load_dotenv()
if len(sys.argv) != 2:
    sys.exit("Usage: python trigger_agent_transfer.py CALL_ID")
try:
    intent = TransferIntent(
        call_id=sys.argv[1],
        destination="agent:" + os.environ["SUPPORT_AGENT_ID"],
        caller_id=os.environ["PIOPIY_NUMBER"],
    )
    with TransferPublisher() as publisher:
        outcome = publisher.submit(intent).outcome()
    print(outcome.state, outcome.guide.meaning)
except KeyError as missing:
    sys.exit(f"{missing.args[0]} is not set. Put it into the environment, or into .env.")
except TransferTasksError as error:  # a wrong value, a wrong setting, or a Redis that refuses
    sys.exit(str(error))
