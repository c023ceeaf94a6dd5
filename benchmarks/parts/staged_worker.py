"""Our worker with a stopwatch at each step: `celery -A benchmarks.parts.staged_worker worker`.

The real worker, its parts wrapped; the product knows nothing of it. Writes {transfer_id: {step: ns}} to
BENCH_STAGES_FILE when it ends.
"""

import dataclasses
import json
import os
import time
from collections import defaultdict
from pathlib import Path

from celery import signals

from transfer_worker.queue.transport import GuardedChannel
from transfer_worker.runtime import celery_app

app = celery_app.app

_seen: defaultdict[str, dict[str, int]] = defaultdict(dict)


def _note(transfer_id: str, step: str) -> None:
    _seen[transfer_id].setdefault(step, time.monotonic_ns())


class _TimedLedger:
    def __init__(self, inner) -> None:
        self._inner = inner

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def claim(self, transfer_id: str, **named):
        _note(transfer_id, "routed")
        try:
            return self._inner.claim(transfer_id, **named)
        finally:
            _note(transfer_id, "claimed and begun")

    def end_attempt(self, claim, note):
        _note(claim.transfer_id, "answered")
        try:
            return self._inner.end_attempt(claim, note)
        finally:
            _note(claim.transfer_id, "settled")


def _time_fetching() -> None:
    qos_class = GuardedChannel.QoS
    inner = qos_class.append

    def append(self, message, delivery_tag):
        _note(delivery_tag, "fetched")
        return inner(self, message, delivery_tag)

    qos_class.append = append


@signals.task_received.connect
def _note_handover(request, **_) -> None:
    _note(request.id, "handed over")


@signals.task_prerun.connect
def _note_task(task_id, **_) -> None:
    _note(task_id, "task begins")


@signals.worker_init.connect
def _wrap(**_) -> None:
    _time_fetching()
    process = celery_app._process  # noqa: SLF001 - as the fault tests do it
    process.service = dataclasses.replace(process.service, ledger=_TimedLedger(process.service.ledger))


@signals.worker_shutdown.connect
def _write(**_) -> None:
    Path(os.environ["BENCH_STAGES_FILE"]).write_text(json.dumps(_seen))
