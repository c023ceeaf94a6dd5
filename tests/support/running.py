"""One run for a whole module: a cluster with a worker in it, and all that worker and audit log have said."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import Celery

from support import wait_until
from support.cluster import Cluster, make_intent
from support.own_cluster import open_cluster
from transfer_tasks.publisher.message import TASK_NAME
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support import SpawnedProcess
    from transfer_tasks.outcome import TransferOutcome
    from transfer_tasks.publisher import TransferHandle, TransferPublisher


TOKEN = "token-that-nobody-may-see"
REGISTRY = """
[support]
description = "Technical support"
endpoints = ["+1 202-555-0145", "+1 202-555-0146"]
caller_id = "+1 202-555-0107"
ring_timeout_sec = 20
strategy = "sequential"
"""


@dataclass
class Running:
    """A cluster with a worker in it, and everything that its worker and audit log have said."""

    cluster: Cluster
    worker: SpawnedProcess
    publisher: TransferPublisher
    audit_path: Path
    handles: dict[str, TransferHandle] = field(default_factory=dict)
    other_workers: list[SpawnedProcess] = field(default_factory=list)

    @property
    def sandbox(self) -> SandboxServer:
        return self.cluster.sandbox

    def send(self, destination: Any, **fields: Any) -> tuple[TransferOutcome, list[dict[str, Any]]]:
        """Submit, wait for the outcome, and return it with the POSTs that the sandbox saw."""
        intent = make_intent(destination, **fields)
        outcome = self.publisher.submit(intent).outcome()
        return outcome, self.sandbox.requests(intent.call_id)

    def record(self, transfer_id: str) -> Any:
        ledger = self.cluster.ledger()
        with ledger.client:
            return ledger.read(transfer_id)

    def output(self) -> str:
        """Return what all workers of this run have written."""
        return "".join(worker.output() for worker in (self.worker, *self.other_workers))

    def audit_file(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_path.read_text("utf-8").splitlines()]

    def audit_of(self, transfer_id: str) -> list[dict[str, Any]]:
        """Return a transfer's lines in the audit file, once its ending is among them."""
        lines: list[dict[str, Any]] = []

        def is_finished() -> bool:
            lines[:] = [line for line in self.audit_file() if line["transfer_id"] == transfer_id]
            return any(line["event"] == "transfer.finished" for line in lines)

        wait_until(is_finished, message=f"the ending of {transfer_id} in the audit file")
        return lines

    def celery(self) -> Celery:
        """A producer that has only Celery."""
        app = Celery("any producer", broker=self.cluster.redis_url, set_as_current=False)
        app.conf.update(task_default_queue="transfers", broker_connection_retry_on_startup=True)
        return app

    def send_task(self, intent: Any, *, name: str = TASK_NAME, **options: Any) -> str:
        """Publish with plain Celery; return the task's id."""
        app = self.celery()
        try:
            sent = app.send_task(name, kwargs={"intent": intent}, ignore_result=True, **options)
            return str(sent.id)
        finally:
            app.close()

    def wait_for_record(self, transfer_id: str) -> Any:
        """Return the record once it has ended."""
        return wait_until(
            lambda: (record := self.record(transfer_id)) and record.outcome and record,
            message=f"the ending of {transfer_id}",
        )


@contextmanager
def open_running(directory: Path) -> Iterator[Running]:
    """Yield a run whose files are in the folder."""
    with open_cluster(
        directory,
        registry=REGISTRY,
        sandbox=SandboxServer(token=TOKEN),
        TRANSFER_AUDIT_FILE=str(directory / "audit.jsonl"),
        TRANSFER_ATTEMPT_TIMEOUT_SECONDS="1",
    ) as cluster:
        worker = cluster.start_worker(concurrency=16)
        with cluster.publisher() as publisher:
            yield Running(cluster, worker, publisher, directory / "audit.jsonl")
