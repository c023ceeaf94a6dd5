"""The transfer service on a stage."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from support.delivering import CALL_ID, AllowAll
from transfer_tasks.intent import TransferIntent
from transfer_tasks.signature import Written
from transfer_worker.delivery.message import Notification, Request
from transfer_worker.delivery.refusal import Door
from transfer_worker.delivery.retry import RetryPolicy
from transfer_worker.delivery.service import Performed, TransferService
from transfer_worker.testing import FakeClock, FakeGateway, FakeLedger, FakeRecord


class Stage:
    """A service and everything around it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger = FakeLedger(self.clock)
        self.gateway = FakeGateway(self.clock)
        self.policy = AllowAll()
        self.service = TransferService(
            ledger=self.ledger,
            gateway=self.gateway,
            policy=self.policy,
            door=Door(ledger=self.ledger, policy=self.policy, clock=self.clock),
            clock=self.clock,
            retry=RetryPolicy(max_attempts=4),
            write_within_seconds=1.0,
        )
        self.transfer_id = str(uuid.uuid4())

    def publish(self, *, remaining_seconds: float = 15.0) -> FakeRecord:
        intent = TransferIntent(transfer_id=self.transfer_id, call_id=CALL_ID, destination="support")
        return self.ledger.add(intent, remaining_seconds=remaining_seconds)

    def perform(self, asked: Any = None, *, copy: str = "") -> Performed:
        if asked is not None:
            return self.service.perform(Request(transfer_id=self.transfer_id, asked=asked))
        return self.service.perform(Notification(transfer_id=self.transfer_id, copy=Written(copy)))

    def on(self, step: str, act: Any, *, occurrence: int = 1) -> None:
        """Do something right before the n-th time of a step."""
        count = 0

        def before(name: str) -> None:
            nonlocal count
            count += name == step
            if name == step and count == occurrence:
                act()

        self.ledger.before_step = before


@pytest.fixture
def stage() -> Stage:
    return Stage()
