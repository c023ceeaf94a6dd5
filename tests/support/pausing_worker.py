"""A worker that stops dead at a named point: `celery -A support.pausing_worker worker`.

The real worker, with the steps of its service wrapped; the product knows nothing of it. At the point named by
PAUSE_AT the process (after PAUSE_DELAY_SECONDS, if given) writes PAUSE_FILE and stops itself with SIGSTOP,
once. What comes next, SIGKILL or SIGCONT, is the test's to say.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from celery import signals

from transfer_worker.runtime import celery_app

app = celery_app.app


def _stop_at(point: str) -> None:
    reached = Path(os.environ["PAUSE_FILE"])
    if os.environ["PAUSE_AT"] == point and not reached.exists():
        time.sleep(float(os.environ.get("PAUSE_DELAY_SECONDS", "0")))
        reached.write_text(str(os.getpid()))
        # To this very thread: sent to the process, it would let this thread run on for a moment.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


class _PausingLedger:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def claim(self, transfer_id: str, *, routed: Any = None) -> Any:
        _stop_at("before_claim")
        if os.environ["PAUSE_AT"] == "after_claim":
            routed = None  # as with a message that brings no copy of its intent: the claim begins nothing
        claimed = self._inner.claim(transfer_id, routed=routed)
        _stop_at("after_begin" if getattr(claimed, "is_begun", False) else "after_claim")
        return claimed

    def begin_attempt(self, *arguments: Any, **named: Any) -> Any:
        begun = self._inner.begin_attempt(*arguments, **named)
        _stop_at("after_begin")
        return begun

    def end_attempt(self, *arguments: Any) -> Any:
        settled = self._inner.end_attempt(*arguments)
        _stop_at("after_settle")
        return settled


class _PausingGateway:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, **named: Any) -> Any:
        try:
            return self._inner.send(**named)
        finally:
            _stop_at("after_post")


@signals.worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _wrap(**_: Any) -> None:
    process = celery_app._process
    assert process is not None, "this handler runs after the worker's own"
    process.service = dataclasses.replace(
        process.service,
        ledger=_PausingLedger(process.service.ledger),
        gateway=_PausingGateway(process.service.gateway),
    )
