"""The whole cluster for one test: a real Redis, the sandbox, real worker processes, a publisher."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer_tasks.intent import TransferIntent
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings
from transfer_worker.audit.outbox import read_any_lines

if TYPE_CHECKING:
    from support.processes import ProcessSpawner, SpawnedProcess
    from transfer_worker.sandbox import SandboxServer

OK_NUMBER = "+1 202 555 0100"
"""The sandbox accepts a transfer to it."""

PIOPIY_NUMBER = "12025550199"


@dataclass
class Cluster:
    """One test's arrangement.

    Attributes:
        redis_url: Where Redis is; a fault proxy's address may stand in for it.
        sandbox: The fake Piopiy.
        spawn: Starts processes that end with the test.
        environment: What every worker gets besides.
    """

    redis_url: str
    sandbox: SandboxServer
    spawn: ProcessSpawner
    environment: dict[str, str] = field(default_factory=dict)
    _worker_count: int = 0

    def start_worker(
        self, *, app: str = "transfer_worker", concurrency: int = 4, redis_url: str = "", **environment: str
    ) -> SpawnedProcess:
        """Start a worker and wait until it consumes."""
        self._worker_count += 1
        name = f"w{self._worker_count}"
        worker = self.spawn(
            [sys.executable, "-m", "celery", "-A", app, "worker", "-c", str(concurrency),
             "-n", f"{name}@test", "--without-mingle", "--without-gossip"],
            env=self.worker_environment(redis_url=redis_url) | environment,
            name=name,
        )  # fmt: skip
        worker.wait_for_output(r"ready\.")
        return worker

    def start_supervised(
        self, name: str = "supervised", *, redis_url: str = "", processes: int = 1
    ) -> SpawnedProcess:
        """Start a worker as on-call engineers do, by `call-transfer worker`, and wait until it consumes."""
        worker = self.spawn(
            [sys.executable, "-m", "transfer_worker", "worker", "-c", "4", "--processes", str(processes)],
            env=self.worker_environment(redis_url=redis_url),
            name=name,
        )
        for name_of_process in [""] if processes == 1 else [f"-{n}" for n in range(1, processes + 1)]:
            worker.wait_for_output(rf"transfer-\d+{name_of_process}@\S+ ready\.")
        return worker

    def worker_environment(self, *, redis_url: str = "") -> dict[str, str]:
        """Return what a worker needs to know."""
        return {
            "TRANSFER_REDIS_URL": redis_url or self.redis_url,
            "PIOPIY_TOKEN": self.sandbox.token,
            "PIOPIY_API_URL": self.sandbox.url,
            "PIOPIY_NUMBER": PIOPIY_NUMBER,
            "TRANSFER_ALLOW_UNLISTED": "US, sip.example.com, agents",
            "TRANSFER_CALLER_IDS": "+1 202-555-0108",
            "TRANSFER_ALLOW_MEDIA": "hold.wav, media.example.com",
            "PYTHONPATH": str(Path(__file__).parent.parent),
        } | self.environment

    def publisher(self, *, redis_url: str = "", budget_seconds: float = 10.0) -> TransferPublisher:
        """Return a publisher; close it, or use it in a `with`. No busy machine exhausts its budget."""
        return TransferPublisher(
            PublisherSettings(redis_url=redis_url or self.redis_url, publish_budget_seconds=budget_seconds)
        )

    def ledger(self) -> Ledger:
        """Return the ledger, to look into."""
        client = connect(self.redis_url, timeout_seconds=30)
        return Ledger(client, namespace="transfer", retention_seconds=3600)

    def audit_events(self, transfer_id: str) -> list[str]:
        """Return the names of a transfer's audit lines, in order."""
        ledger = self.ledger()
        with ledger.client as client:
            entries: Any = client.xrange(ledger.keys.audit)
        lines = [line for entry_id, fields in entries for line in read_any_lines(entry_id, fields)]
        return [line["event"] for line in lines if line["transfer_id"] == transfer_id]


def make_intent(destination: Any = OK_NUMBER, **fields: Any) -> TransferIntent:
    """Return an intent for a new call; unless told otherwise, with a deadline that no busy machine meets."""
    known = {"call_id": str(uuid.uuid4()), "destination": destination, "expires_in_seconds": 60}
    return TransferIntent(**{**known, **fields})
