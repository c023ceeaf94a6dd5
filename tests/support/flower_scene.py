"""Flower beside a worker, and the transfers that it has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from support.cluster import Cluster
    from support.processes import SpawnedProcess
    from transfer_tasks.outcome import State

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from celery import Celery

from support import urlopen_directly
from transfer_tasks.publisher.message import TASK_NAME

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger


ROOT = Path(__file__).parents[2]


LOGIN = ("on-call", "correct-horse-battery")


SIP_USER = "jane.doe"


SUPPORT_NUMBER = "+1 202 555 0143"


@dataclass
class Scene:
    """Flower, and the transfers that it has seen, by what each of them shows."""

    cluster: Cluster
    url: str
    database: Path
    ledger: Ledger
    flower: SpawnedProcess
    transfers: dict[str, tuple[str, str]] = field(default_factory=dict)

    def fetch(self, path: str) -> str:
        """Return the text at a path of Flower, behind its login."""
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Basic {b64encode(':'.join(LOGIN).encode()).decode()}")
        try:
            with urlopen_directly(request, timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def tasks(self) -> Any:
        return json.loads(self.fetch("/api/tasks"))

    def row(self, name: str) -> Any:
        return self.tasks()[self.transfers[name][0]]

    def count_events(self, kind: str) -> float:
        """Return how many events of a kind have reached Flower."""
        return sum(
            float(line.rpartition(" ")[2])
            for line in self.fetch("/metrics").splitlines()
            if line.startswith("flower_events_total{") and f'type="{kind}"' in line
        )

    def state_of(self, transfer_id: str) -> State | None:
        """Return the state on record, or None."""
        record = self.ledger.read(transfer_id)
        return record.state if record else None


def send_plainly(cluster: Cluster, intent: Any) -> str:
    """Publish as somebody does who has only Celery."""
    with Celery(broker=cluster.redis_url, set_as_current=False) as plain:
        return str(plain.send_task(TASK_NAME, kwargs={"intent": intent}, queue="transfers").id)


def is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
