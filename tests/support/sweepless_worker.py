"""A worker without our recovery: `celery -A support.sweepless_worker worker`. The outer net is left."""

from __future__ import annotations

from transfer_worker.ledger import recovery
from transfer_worker.runtime import celery_app

app = celery_app.app


def _beat_only(self: recovery.Recovery) -> None:
    self._ledger.run(self._beat)


recovery.Recovery.beat_and_sweep = _beat_only  # type: ignore[method-assign]
