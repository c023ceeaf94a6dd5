"""Flower forgets what `call-transfer erase` takes away: in its memory, its search and its file.

The step of `erase` leaves the ids for 400 days (`Keys.erased`). A Flower that starts reads all of them before
it shows a page; one that runs looks every second. What is hooked into is flower 2.2.0's (events.py).
"""

from __future__ import annotations

import ast
import logging
import re
from typing import TYPE_CHECKING, Any, Final

from flower.events import Events
from redis.exceptions import RedisError
from tornado.ioloop import PeriodicCallback

from transfer_tasks.ledger.keys import Keys
from transfer_tasks.redis.connection import connect
from transfer_tasks.redis.diagnosis import diagnose
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis

LOOK_SECONDS: Final = 1.0
OVERLAP_MS: Final = 600_000
"""So long after an erasure, events of its tasks may still come."""
_KEPT: Final = frozenset({"call_id", "destination"})
_ENDING: Final = re.compile(r"['\"]?\w+ ?\(['\"]?\w+(, attempts \d+)?(, HTTP \d+)?")
"""As a worker describes it to Flower (`celery_app`)."""
_log: Final = logging.getLogger(__name__)


def obey_erasures() -> None:
    """Have Flower forget; to be called before its application is built."""
    start = Events.start

    def start_and_obey(events: Any) -> None:
        url = PublisherSettings.load().redis_url.get_secret_value()
        forgetter = Forgetter(events, connect(url, timeout_seconds=5))
        forgetter.look()
        events.forgetter = PeriodicCallback(forgetter.look_elsewhere, LOOK_SECONDS * 1000)
        start(events)
        events.forgetter.start()

    Events.start = start_and_obey


class Forgetter:
    """Looks for what is erased, and takes its texts out of what Flower knows.

    Args:
        events: Flower's `Events`: its state, and the file that it is saved in.
        client: Of the Redis that has the notes.
    """

    def __init__(self, events: Any, client: redis.Redis) -> None:
        self._events, self._client = events, client
        self._newest_ms = float("-inf")
        self._is_told = False

    def look(self) -> None:
        """Look once, and forget; for Flower's own thread."""
        self._forget(self._read())

    async def look_elsewhere(self) -> None:
        """Look in another thread, and forget in this one."""
        self._forget(await self._events.io_loop.run_in_executor(None, self._read))

    def _read(self) -> list[str]:
        """Return the transfers that were erased of late, at first all; none where Redis is away."""
        since_ms = self._newest_ms - OVERLAP_MS
        try:
            found: Any = self._client.zrangebyscore(Keys().erased, since_ms, "+inf", withscores=True)
        except RedisError as error:
            if not self._is_told:
                _log.warning("Which tasks are erased can't be read: %s", diagnose(error))
            self._is_told = True
            return []
        self._is_told = False
        self._newest_ms = max([self._newest_ms, *(at_ms for _, at_ms in found)])
        return [transfer_id for transfer_id, _ in found]

    def _forget(self, transfer_ids: Iterable[str]) -> None:
        state, has_changed = self._events.state, False
        for transfer_id in transfer_ids:
            task = state.tasks.get(transfer_id)
            if task is not None and forget(task):
                state.search_engine.upsert(task)
                has_changed = True
        if has_changed and self._events.persistent:
            self._events.save_state()


def forget(task: Any) -> bool:
    """Take what people and the platform have said out of a task; say whether there was anything."""
    try:
        said = dict(ast.literal_eval(task.kwargs))
    except (ValueError, SyntaxError, TypeError):
        said = {}
    left = {
        "args": "()",
        "kwargs": repr({name: value for name, value in said.items() if name in _KEPT}),
        "result": _cut(task.result),
        "exception": _cut(task.exception),
        "traceback": None,
    }
    is_new = any(getattr(task, name) != value for name, value in left.items())
    for name, value in left.items():
        setattr(task, name, value)
    return is_new


def _cut(ending: str | None) -> str | None:
    """Return how it ended without the words that say why."""
    found = _ENDING.match(ending or "")
    return ending and (f"{found[0]})" if found else "")
