"""Keys for tests, a cluster that asks for signatures, and the means of whoever writes to its Redis."""

from __future__ import annotations

import json
import signal
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.waiting import wait_until
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.publisher.message import TASK_NAME
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings
from transfer_worker.operations.lookup import read_clock_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster import Cluster
    from support.processes import SpawnedProcess
    from transfer_tasks.intent import TransferIntent
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.signature import Written

VOICE_KEY, CRM_KEY, STRANGE_KEY = f"voice:{'v' * 32}", f"crm:{'c' * 32}", f"voice:{'x' * 32}"
OPERATORS_KEY = f"ops:{'o' * 32}"
VERIFY_KEYS = f"{VOICE_KEY},{CRM_KEY}[support],{OPERATORS_KEY}"
REGISTRY = "".join(
    f'[{name}]\ndescription = "{name}"\nendpoints = ["+1 202-555-01{number}"]\n'
    for name, number in (("support", 45), ("billing", 46))
)


@dataclass
class SignedCluster:
    """A worker with verify keys, its sandbox, and everybody's way into its Redis."""

    cluster: Cluster
    worker: SpawnedProcess

    @contextmanager
    def publisher(self, key: str | None) -> Iterator[TransferPublisher]:
        """Yield a publisher that signs with a key, or with none."""
        settings = PublisherSettings(
            redis_url=self.cluster.redis_url, publish_budget_seconds=10, signing_key=key
        )
        with TransferPublisher(settings) as publisher:
            yield publisher

    @contextmanager
    def bench(self) -> Iterator[LedgerBench]:
        """Yield the ledger, to look into and to alter."""
        with connect(self.cluster.redis_url, timeout_seconds=30) as client:
            yield LedgerBench(client)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let the worker stand still meanwhile, so that what is accepted can be altered before its claim."""
        self.worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.worker.send_signal(signal.SIGCONT)

    def submit(self, key: str | None, intent: TransferIntent | None = None) -> str:
        """Submit, and return the transfer's id."""
        with self.publisher(key) as publisher:
            return publisher.submit(intent or make_intent("support")).transfer_id

    def push(self, transfer_id: str, written: Written | None = None, asked: Any = None) -> None:
        """Push what a producer of plain Celery writes, with nothing but LPUSH."""
        named = {"intent": written.text, "signature": written.signature} if written else {"intent": asked}
        message = {
            "body": json.dumps([[], named, {}]),
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": TASK_NAME, "id": transfer_id},
            "properties": {
                "delivery_tag": str(uuid.uuid4()),
                "delivery_info": {"exchange": "", "routing_key": "transfers"},
            },
        }
        with self.bench() as bench:
            bench.client.lpush("transfers", json.dumps(message))

    def ending(self, transfer_id: str) -> TransferRecord:
        """Return the record once it has ended, and the audit log says so."""
        with self.bench() as bench:
            wait_until(
                lambda: (found := bench.ledger.read(transfer_id)) and found.outcome,
                message=f"the ending of {transfer_id}",
            )
            assert "finished" in bench.events(transfer_id)
            return bench.record(transfer_id)

    def wait_for_clock(self, at_ms: float) -> None:
        """Wait until Redis's clock is past a point in time."""
        with self.bench() as bench:
            wait_until(lambda: read_clock_ms(bench.ledger) > at_ms)

    def posts(self, call_id: str) -> int:
        """Return how many requests for a call have reached the sandbox."""
        return len(self.cluster.sandbox.requests(call_id))
