"""A receiver of a team's own reports by plain Celery whether anybody picked up, through a real worker."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from support import wait_until
from support.cluster import make_intent
from support.ledger_bench import LedgerBench
from transfer_tasks.outcome import State
from transfer_tasks.publisher.message import REPORT_TASK_NAME
from transfer_tasks.signature import parse_signing_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from support.cluster import Cluster
    from transfer_tasks.publisher import TransferPublisher

KEY = f"receiver:{'r' * 32}"


@pytest.fixture
def bench(cluster: Cluster) -> Iterator[LedgerBench]:
    ledger = cluster.ledger()
    with ledger.client:
        yield LedgerBench(ledger.client)


@pytest.fixture
def report(cluster: Cluster) -> Iterator[Any]:
    app = Celery("a receiver", broker=cluster.redis_url, set_as_current=False)
    app.conf.update(task_default_queue="transfers")

    def send(*, arguments: tuple[Any, ...] = (), **named: Any) -> None:
        app.send_task(REPORT_TASK_NAME, args=arguments, kwargs=named, task_id=str(uuid.uuid4()))

    yield send
    app.close()


def send_and_go_on(cluster: Cluster, publisher: TransferPublisher) -> Any:
    """Have a transfer accepted by the platform."""
    handle = publisher.submit(make_intent())
    assert handle.outcome().state is State.SUBMITTED
    return handle


def test_a_signed_report_is_the_platforms_word_and_no_request_follows(
    cluster: Cluster, publisher: TransferPublisher, bench: LedgerBench, report: Any
) -> None:
    cluster.environment["TRANSFER_VERIFY_KEYS"] = KEY
    cluster.start_worker()
    call_id, text = str(uuid.uuid4()), ""
    claim = bench.begin_first(call_id)
    bench.lose_answer(claim)
    text = json.dumps({"call_id": call_id, "request_id": "r-1", "status": "connected", "source": "webhook"})
    posts = cluster.sandbox.post_count()

    report(report=text, signature=parse_signing_key(KEY).sign(text).signature)

    wait_until(lambda: bench.record(claim.transfer_id).connection, message="the report is on record")
    record = bench.record(claim.transfer_id)
    assert record.connection is not None
    assert (record.state, record.connection.status, record.connection.source) == (
        State.SUBMITTED,
        "connected",
        "webhook",
    )
    assert cluster.sandbox.post_count() == posts


def test_what_is_not_signed_changes_nothing_and_the_next_transfer_is_served(
    cluster: Cluster, publisher: TransferPublisher, bench: LedgerBench, report: Any, redis_client: redis.Redis
) -> None:
    worker = cluster.start_worker()
    handle = send_and_go_on(cluster, publisher)
    said = {"transfer_id": handle.transfer_id, "status": "connected", "source": "room"}
    report(report=said)
    report(arguments=("junk",))
    report(report={**said, "source": "session", "status": "moved"})
    report(nonsense=1)  # to the quarantine
    report()
    wait_until(lambda: redis_client.llen(bench.keys.quarantine) == 2, message="two are set aside")
    wait_until(lambda: worker.output().count("report.refused") >= 3, message="three are refused")
    assert bench.record(handle.transfer_id).connection is None

    report(report={**said, "source": "session"})
    wait_until(lambda: bench.record(handle.transfer_id).connection, message="the session's word is on record")
    send_and_go_on(cluster, publisher)
