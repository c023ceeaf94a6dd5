"""What `make chaos` has found, each reproduced in the small."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import redis.exceptions
import structlog

from support import FaultProxy, wait_until
from support.ledger_bench import LedgerBench
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.async_ledger import AsyncLedger
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.clock import RedisClock
from transfer_tasks.redis.connection import connect
from transfer_worker.audit.chain import Chain
from transfer_worker.audit.file import AuditFile
from transfer_worker.audit.outbox import BLOCK_SECONDS, GROUP
from transfer_worker.audit.writer import AuditWriter
from transfer_worker.ledger.recovery import Recovery
from transfer_worker.ledger.steps import LedgerSteps

if TYPE_CHECKING:
    from pathlib import Path


class CancellationLosingPool:
    """Loses a cancellation, as `asyncio.wait_for` of Python 3.11 does at the wrong moment."""

    def make_connection(self) -> Any:
        """Make one that nobody connects."""
        return SimpleNamespace(register_connect_callback=lambda _: None)

    async def ensure_connection(self, connection: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(2)
        raise redis.exceptions.ConnectionError("nobody there")


async def test_the_time_budget_holds_when_the_redis_client_loses_the_cancellation() -> None:
    client: Any = SimpleNamespace(connection_pool=CancellationLosingPool())
    ledger = AsyncLedger(client, namespace="transfer", retention_seconds=60)
    started = time.monotonic()

    with pytest.raises(LedgerUnavailable):
        await ledger.run(
            ledger.commands.heartbeat(worker="w", lease_ms=1, about_json="{}", queue="transfers"),
            budget_seconds=0.1,
        )

    assert time.monotonic() - started < 0.5


async def test_nothing_is_sent_when_connecting_took_all_the_time_and_the_cancellation_was_lost() -> None:
    class LatePool(CancellationLosingPool):
        async def ensure_connection(self, connection: Any) -> None:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                await super().ensure_connection(connection)

    client: Any = SimpleNamespace(connection_pool=LatePool())
    ledger = AsyncLedger(client, namespace="transfer", retention_seconds=60)

    with pytest.raises(LedgerUnavailable) as told:
        await ledger.run(
            ledger.commands.heartbeat(worker="w", lease_ms=1, about_json="{}", queue="transfers"),
            budget_seconds=0.1,
        )

    assert not told.value.may_have_happened


def test_a_worker_that_claims_is_known_to_live_though_its_first_heartbeat_was_lost(redis_url: str) -> None:
    client = connect(redis_url, timeout_seconds=1.0)
    ledger = Ledger(client, namespace="transfer", retention_seconds=60)
    recovery = Recovery(
        ledger,
        worker="w",
        describe=lambda: "{}",
        queue="q",
        notification="",
        limits={},
        attempt_bound_seconds=1.0,
        log=structlog.get_logger(),
        clock=RedisClock(),
    )
    steps = LedgerSteps(
        ledger,
        worker="w",
        queue="q",
        repeat_window_seconds=1.0,
        settle_patience_seconds=1.0,
        keep_lease=recovery.keep_lease,
    )

    with client:
        steps.claim("nobody's")

        assert client.exists(ledger.keys.worker("w"))


def test_a_writer_that_stops_soon_after_a_lost_answer_writes_its_lines_first(
    redis_url: str, tmp_path: Path
) -> None:
    client = connect(redis_url, timeout_seconds=1.0)
    ledger = Ledger(client, namespace="transfer", retention_seconds=60)
    stream, file = ledger.keys.audit, tmp_path / "audit.jsonl"
    with client, FaultProxy.before(redis_url) as proxy:
        writer = AuditWriter(
            connect(proxy.url_for(redis_url), timeout_seconds=BLOCK_SECONDS + 1.0),
            keys=ledger.keys,
            worker="w",
            lines=structlog.get_logger(),
            log=structlog.get_logger(),
            clean=lambda line: line,
            set_aside=lambda *_: None,
            file=AuditFile(file, chain=Chain("w")),
        )
        writer.start()
        wait_until(lambda: client.exists(stream) and client.xinfo_consumers(stream, GROUP))

        proxy.cut_at_next_answer()
        _quarantine(ledger, "lost on the way")
        wait_until(lambda: client.xpending(stream, GROUP)["pending"])
        _quarantine(ledger, "arrived")
        wait_until(lambda: "arrived" in file.read_text())
        writer.stop(within_seconds=5.0)

    assert "lost on the way" in file.read_text()


def _quarantine(ledger: Ledger, why: str) -> None:
    ledger.run(ledger.commands.quarantine(transfer_id="", why=why, element="", size_bytes=0, max_entries=1))


def test_a_wait_that_the_network_held_back_does_not_end_the_attempt_after_it(redis_url: str) -> None:
    bench = LedgerBench(connect(redis_url, timeout_seconds=1.0))
    claim = bench.claim(bench.accept().transfer_id)
    held_back = bench.commands.end_attempt(
        claim,
        state=State.CLAIMED,
        reason=Reason.PLATFORM_UNAVAILABLE,
        http_status=503,
        detail="",
        answer_json="",
        attempt_ms=1,
        wait_ms=1,
        attempt=1,
    )
    bench.begin(claim, attempt=1)
    bench.run(held_back)
    bench.begin(claim, attempt=2)

    bench.run(held_back)

    with bench.client:
        assert bench.record(claim.transfer_id).state is State.SENDING
