"""A worker without recovery; kombu has its own (`celery -A support.sweepless_worker worker`)."""

from __future__ import annotations

from transfer_worker.ledger import recovery
from transfer_worker.runtime import celery_app

app = celery_app.app


def _heartbeat_only(self: recovery.Recovery) -> None:
    self._send_heartbeat()


recovery.Recovery.heartbeat_and_sweep = _heartbeat_only  # type: ignore[method-assign]
