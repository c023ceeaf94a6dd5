"""Flower for on-call engineers: `celery -A transfer_worker flower --conf=…/flowerconfig.py`.

Each value is a default: the environment (`FLOWER_ADDRESS=…`) and the command line (`--address=…`) go first.
Flower itself would let this file win over the environment, hence `_setting` (flower 2.2.0, command.py).
The options are those of flower 2.2.0, options.py.
"""

from __future__ import annotations

import ast
import os
from typing import Any

from flower.views.tasks import TASK_COLUMNS

from transfer_worker.monitoring.flower_banner import add_banner
from transfer_worker.monitoring.flower_erasure import obey_erasures
from transfer_worker.monitoring.flower_guard import guard, read_logins


def _setting(name: str, default: object) -> object:
    return os.environ.get(f"FLOWER_{name.upper()}", default)


basic_auth = read_logins()
guard()

address = _setting("address", "127.0.0.1")

# No buttons and no API that change anything. An operator sets FLOWER_READ_ONLY=false, for a while.
read_only = _setting("read_only", True)

# What was seen survives a restart; at worst the last half minute is missing.
persistent = _setting("persistent", True)
db = _setting("db", "flower.db")
state_save_interval = _setting("state_save_interval", 30_000)
# About 10 KB each (measured with long ones): with all else 220 MB at most. That is a day at 7 transfers a
# minute, nearly three hours at 1 a second. What is older is in the records: `call-transfer list`.
max_tasks = _setting("max_tasks", 10_000)

# Each start of a worker is a row. `call-transfer status` says for an hour who crashed or was killed.
purge_offline_workers = _setting("purge_offline_workers", 300)

# From left to right one sentence: when, how it ended, which call was to go where, who asked and why. The task
# id is the transfer id: a line of the audit log is found by pasting. A task's name is always the same.
tasks_columns = _setting("tasks_columns", "received,state,result,kwargs,args,runtime,worker,uuid")
TASK_COLUMNS |= {"received": "Received (UTC)", "result": "Outcome", "kwargs": "Asked for", "args": "Asked by"}
natural_time = _setting("natural_time", False)

add_banner()
obey_erasures()

# A caller waits: what counts are tenths of seconds, up to the longest deadline.
task_runtime_metric_buckets = _setting(
    "task_runtime_metric_buckets", [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0]
)


def format_task(task: Any) -> Any:
    """Say in one row how it ended, where the call should go, and who asked; searched is what is behind it."""
    try:
        shown = dict(ast.literal_eval(task.kwargs))
    except (ValueError, SyntaxError, TypeError):
        return task  # not one of ours
    call, where = shown.get("call_id"), (shown.get("destination"), shown.get("to"))
    task.kwargs = " ".join(filter(None, (call and f"call {call} to", *where)))
    task.args = ": ".join(filter(None, (shown.get("requested_by"), shown.get("reason"))))
    task.result = (task.result or "").strip("'")
    return task
