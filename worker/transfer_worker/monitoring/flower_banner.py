"""A line above each of Flower's pages while what they show is old, or nobody is there to act on it.

Flower 2.2.0 has no option for that. Its addresses are a list (flower/urls.py); its templates are read by
tornado's loader, which a setting replaces (tornado 6.5, `RequestHandler.create_template_loader`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flower.urls import handlers, settings
from flower.views import BaseHandler
from redis.exceptions import RedisError
from tornado.template import DictLoader
from tornado.web import authenticated, url

if TYPE_CHECKING:
    from collections.abc import Iterable

_BANNER: Final = Path(__file__).with_suffix(".html")

_ON_EVERY_PAGE: Final = "navbar.html"


def add_banner() -> None:
    """Put the line on each page; to be called before Flower's application is built."""
    handlers.insert(0, url(r"/banner", _Banner, name="banner"))
    templates = {path.name: path.read_text() for path in Path(settings["template_path"]).glob("*.html")}
    templates[_ON_EVERY_PAGE] += _BANNER.read_text()
    settings["template_loader"] = DictLoader(templates)


def word_banner(*, now: float, seen: Iterable[float], is_alive: bool, waiting: int | None) -> str:
    """Return the line, or an empty text where all is well.

    Args:
        now: In seconds since the epoch, as all points in time here.
        seen: When each worker that Flower has heard of last gave a sign of life.
        is_alive: Whether any of them is alive.
        waiting: How many messages are in the queue; None where Redis did not answer.
    """
    last = max(seen, default=None)
    if waiting is None:
        known = f"These pages show what was so {_say(last, now)}" if last else "Flower has heard of no worker"
        return f"Redis does not answer. {known}. See: call-transfer doctor"
    if is_alive:
        return ""
    heard = f"the last one {_say(last, now)}" if last else "Flower has heard of none"
    queue = f"Waiting in the queue: {waiting}"
    return f"No worker gives a sign of life ({heard}). {queue}. See: call-transfer status"


def _say(moment: float, now: float) -> str:
    age = max(0, round(now - moment))
    return f"at {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC, {age} s ago"


def _find_last_word(worker: Any) -> float:
    """Return when it was; 0 where that is not known: it stopped gracefully, and Flower was started anew."""
    return max(worker.heartbeats, default=getattr(worker, "timestamp", 0.0))


class _Banner(BaseHandler):  # type: ignore[misc]  # Flower has no types
    """Answers with the line that is to be shown now."""

    @authenticated
    async def get(self) -> None:
        workers = list(self.application.events.state.workers.values())
        self.write(
            {
                "text": word_banner(
                    now=time.time(),
                    seen=filter(None, map(_find_last_word, workers)),
                    is_alive=any(worker.alive for worker in workers),
                    waiting=await self._count_waiting(),
                )
            }
        )

    async def _count_waiting(self) -> int | None:
        broker: Any = self.get_broker()
        try:
            (queue,) = await broker.queues([self.capp.conf.task_default_queue])
            return int(queue["messages"])
        except (RedisError, OSError):
            return None
        finally:
            # The client that Flower closes leaves its connections to Sentinels open.
            if manager := getattr(broker.redis.connection_pool, "sentinel_manager", None):
                await manager.aclose()
