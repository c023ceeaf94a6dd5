"""Flower for on-call engineers: `celery -A transfer_worker flower --conf=…/flowerconfig.py`.

Each value is a default: the environment (`FLOWER_ADDRESS=…`) and the command line (`--address=…`) go first.
Flower itself would let this file win over the environment, hence `_setting` (flower 2.2.0, command.py).
The options are those of flower 2.2.0, options.py.
"""

from __future__ import annotations

import ast
import os
from typing import Any

from tornado.options import options


def _setting(name: str, default: object) -> object:
    return os.environ.get(f"FLOWER_{name.upper()}", default)


def _is_login(text: str) -> bool:
    # Flower compares with hmac.compare_digest, which takes no other text than ASCII.
    user, _, password = text.partition(":")
    return bool(user and password and text.isascii())


# Flower has read the environment and the command line before it runs this file.
if not options.basic_auth or not all(map(_is_login, options.basic_auth)):
    raise SystemExit(
        "Flower shows who called and where they went; it does not start without a login. "
        "Set FLOWER_BASIC_AUTH=user:password (ASCII, no comma)."
    )

address = _setting("address", "127.0.0.1")

# No buttons and no API that change anything. An operator sets FLOWER_READ_ONLY=false, for a while.
read_only = _setting("read_only", True)

# What was seen survives a restart; at worst the last half minute is missing.
persistent = _setting("persistent", True)
db = _setting("db", "flower.db")
state_save_interval = _setting("state_save_interval", 30_000)
max_tasks = _setting("max_tasks", 20_000)

# A worker that is gone stays in sight for an hour: that it is gone is the news.
purge_offline_workers = _setting("purge_offline_workers", 3600)

# The task id is the transfer id: a line of the audit log is found by pasting.
tasks_columns = _setting("tasks_columns", "received,state,kwargs,result,runtime,worker,name,uuid")
natural_time = _setting("natural_time", True)

# A caller waits: what counts are tenths of seconds, up to the longest deadline.
task_runtime_metric_buckets = _setting(
    "task_runtime_metric_buckets", [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0]
)


def format_task(task: Any) -> Any:
    """Say in one row where a call should go and how that ended; the search looks at what is behind it."""
    try:
        shown = dict(ast.literal_eval(task.kwargs))
    except (ValueError, SyntaxError, TypeError):
        return task  # not one of ours
    where = (shown.get("destination"), shown.get("to"), shown.get("call_id") and f"call {shown['call_id']}")
    task.kwargs = " ".join(filter(None, where))
    task.result = task.exception or (task.result or "").strip("'")
    return task
