"""Whether the workers on this machine work: each gives a sign of life to Redis, and its consumer answers.

A process that is there proves neither: its threads beat on while its consumer has lost the queue, or the
other way round. So each is asked with Celery's `ping`, which the queue's own loop answers.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from kombu.exceptions import OperationalError

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.runtime.celery_app import app

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of the workers on this machine, by Celery's names of them.

    Attributes:
        beating: Those whose lease runs.
        answering: Those whose consumer has answered.
    """

    beating: frozenset[str]
    answering: frozenset[str]

    @property
    def is_good(self) -> bool:
        """Whether there is a worker, and each that beats also answers."""
        return bool(self.beating) and self.beating <= self.answering

    def describe(self) -> str:
        """Return it in one line."""
        if not self.beating:
            return f"no worker on {platform.node()} gives a sign of life"
        silent = sorted(self.beating - self.answering)
        if silent:
            return f"the consumer does not answer: {', '.join(silent)}"
        return f"each gives a sign of life, and its consumer answers: {', '.join(sorted(self.beating))}"


def check_health(ledger: Ledger, *, timeout_seconds: float) -> Health:
    """Look for the workers on this machine, and ask each.

    Args:
        ledger: Where heartbeats are.
        timeout_seconds: How long a consumer may take to answer.

    Raises:
        LedgerUnavailable: Redis can't be used.
    """
    try:
        names: Any = ledger.client.zrange(ledger.keys.workers, 0, -1)
        here = [name for name in names if _node_of(name).endswith(f"@{platform.node()}")]
        beating = frozenset(_node_of(name) for name in here if ledger.client.exists(ledger.keys.worker(name)))
        answers = (
            app.control.inspect(destination=sorted(beating), timeout=timeout_seconds).ping()
            if beating
            else {}
        )
    except (redis.RedisError, OperationalError) as error:
        raise LedgerUnavailable(f"health: {diagnose(error)}") from error
    return Health(beating=beating, answering=frozenset(answers or {}))


def _node_of(worker: str) -> str:
    return worker.partition("/")[0]
