"""The threads that carry transfers out, each with a head start."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, ClassVar

from celery.concurrency.thread import TaskPool


class HeadStartPool(TaskPool):  # type: ignore[misc]  # Celery has no types
    """Celery's pool of threads, whose feeder stands aside for each transfer that it hands over.

    The thread that reads the queue and those that act share one interpreter's lock. What the reader still has
    to do for a message that is handed over (books, events, the next BRPOP) would come between the claim and
    the request of a caller who waits; behind the request there is time in which nobody needs the lock::

        reader   ─ handover ─┐ stands aside          ┌─ books, events, BRPOP
        thread               └─ claim ── request out ┘       … answer ── settle

    Attributes:
        head_start_seconds: The longest that it stands aside: twice what claim and request take where Redis is
            near.
    """

    head_start_seconds: ClassVar = 0.0015
    _is_out: ClassVar = threading.Lock()

    def on_apply(self, *arguments: Any, **options: Any) -> Any:
        """Hand a task to a thread, and wait until its request is on its way, or has had its chance.

        Celery's `TaskPool.on_apply` returns at once.
        """
        self._is_out.acquire(blocking=False)
        result = super().on_apply(*arguments, **options)
        self._is_out.acquire(timeout=self.head_start_seconds)
        return result

    @classmethod
    def end_head_start(cls) -> None:
        """Let the reader go on: a request is on its way."""
        with suppress(RuntimeError):  # nobody stands aside
            cls._is_out.release()
