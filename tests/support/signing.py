"""Keys for tests, what whoever reaches a Redis can do there, and a cluster that asks for signatures."""

from __future__ import annotations

import json
import signal
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from support.role_users import add_roles
from support.waiting import wait_until
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import TransferPublisher
from transfer_tasks.publisher.message import TASK_NAME
from transfer_tasks.redis.connection import connect
from transfer_tasks.settings import PublisherSettings
from transfer_worker.operations.lookup import read_clock_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.cluster import Cluster
    from support.processes import SpawnedProcess
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.signature import Written
    from transfer_worker.roles import Role

VOICE_KEY, CRM_KEY, STRANGE_KEY = f"voice:{'v' * 32}", f"crm:{'c' * 32}", f"voice:{'x' * 32}"
OPERATORS_KEY = f"ops:{'o' * 32}"
VERIFY_KEYS = f"{VOICE_KEY},{CRM_KEY}[support],{OPERATORS_KEY}"
NUMBERS = {"support": "12025550145", "billing": "12025550146", "sales": "12025550147", "desk": "12025550148"}


def describe_name(name: str, *more: str) -> str:
    """Return the lines of a registry for one of the names."""
    return "\n".join([f"[{name}]", f'description = "{name}"', f'endpoints = ["+{NUMBERS[name]}"]', *more, ""])


REGISTRY = describe_name("support") + describe_name("billing")


@dataclass
class Visitor:
    """Whoever logs in to Redis, and asks for transfers there: by a publisher, and as plain Celery does."""

    redis_url: str

    @contextmanager
    def publisher(self, key: str | None) -> Iterator[TransferPublisher]:
        """Yield a publisher that signs with a key, or with none."""
        settings = PublisherSettings(redis_url=self.redis_url, publish_budget_seconds=10, signing_key=key)
        with TransferPublisher(settings) as publisher:
            yield publisher

    @contextmanager
    def bench(self) -> Iterator[LedgerBench]:
        """Yield the ledger, to look into and to alter."""
        with connect(self.redis_url, timeout_seconds=30) as client:
            yield LedgerBench(client)

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
        self.send(json.dumps(message))

    def send(self, *messages: str) -> None:
        """Put messages on the queue as they are."""
        with self.bench() as bench:
            bench.client.lpush("transfers", *messages)


class SignedCluster(Visitor):
    """A worker, with verify keys or without, its sandbox, and the honest, who may do everything at its Redis.

    Attributes:
        asked: By call: the labels of what the honest have asked for, and the transfer.
    """

    def __init__(self, cluster: Cluster, worker: SpawnedProcess) -> None:
        super().__init__(cluster.redis_url)
        self.cluster, self.worker = cluster, worker
        self.asked: dict[str, tuple[dict[str, str], str]] = {}

    @cached_property
    def logins(self) -> dict[Role, str]:
        """Where each role logs in. Skips where there are none."""
        return add_roles(self.redis_url)

    def submit(self, key: str | None, intent: TransferIntent | None = None) -> str:
        """Submit, and return the transfer's id."""
        intent = intent or make_intent("support")
        transfer_id = super().submit(key, intent)
        self.note(intent, transfer_id)
        return transfer_id

    def push(self, transfer_id: str, written: Written | None = None, asked: Any = None) -> None:
        """Push what a producer of plain Celery writes, with nothing but LPUSH."""
        super().push(transfer_id, written, asked)
        if written:
            self.note(TransferIntent.from_json(written.text), transfer_id)

    def note(self, intent: TransferIntent, transfer_id: str) -> None:
        """Note that the honest have asked for something."""
        self.asked[intent.call_id] = intent.labels(), transfer_id

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let the worker stand still meanwhile, so that what is accepted can be altered before its claim."""
        self.worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.worker.send_signal(signal.SIGCONT)

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
