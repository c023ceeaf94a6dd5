"""A worker a part of which fails: `celery -A support.failing_worker worker`; FAILING_STEP says which."""

from __future__ import annotations

import gc
import os
from typing import Any

from transfer_worker.audit import logs
from transfer_worker.gateway import PiopiyGateway
from transfer_worker.ledger.recovery import Recovery
from transfer_worker.queue.consumer import GatheringConsumer
from transfer_worker.runtime import celery_app

app = celery_app.app

_STEP = os.environ["FAILING_STEP"]
FAIL_NOW = "transfer:test:fail-now"
"""With this key in Redis, the thread fails."""


def _fail(*_: Any, **__: Any) -> Any:
    raise RuntimeError(f"no {_STEP}")


def _heartbeat_until_told(self: Recovery) -> None:
    if self._ledger.client.exists(FAIL_NOW):
        _fail()
    self._send_heartbeat()


def _close_and_say_so(_: PiopiyGateway) -> None:
    os.write(1, b"the gateway is closed\n")


match _STEP:
    case "configure_worker":
        logs.configure = _fail
    case "start_process":
        celery_app._wait_for_findings = _fail
    case "spare_the_garbage_collector":
        gc.freeze = _fail
    case "stop_process":
        Recovery.stop = _fail  # type: ignore[method-assign]
        PiopiyGateway.close = _close_and_say_so  # type: ignore[method-assign, assignment]
    case "consumer":
        GatheringConsumer.start = _fail
    case "recovery":
        Recovery.heartbeat_and_sweep = _heartbeat_until_told  # type: ignore[method-assign]
