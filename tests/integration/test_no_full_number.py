"""Whatever way a number goes in, and however it is written, nothing that a run leaves behind has all of it.

Left out is what needs them to move the call: the records and the queue in Redis, and the sandbox.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from support import wait_until
from support.cluster import make_intent
from transfer_tasks.errors import InvalidIntent
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.masking import digit_of
from transfer_tasks.publisher.message import build_message
from transfer_tasks.redis.connection import connect
from transfer_worker.monitoring.metrics import LedgerCollector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis
    from click.testing import Result

    from support.cluster import Cluster
    from transfer_tasks.publisher import TransferPublisher

SEPARATORS = [", ", "\u202f", "\u2009", "\u200b", "\xad", " \u2026 ", "\u2019", "&nbsp;", "_", "\u00b7", "]["]
SPELLINGS = ["{}", "+{}", "tel:+{}", *(f"{{}}{separator}{{}}{separator}{{}}" for separator in SEPARATORS)]
ZEROES = "0\u0660\uff10"
"""Of three scripts; their other digits follow."""


class Numbers:
    """Full numbers, each used once, so that whatever is left of one shows where it went in."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}

    def spell(self, where: str, spelling: str = "{}", *, zero: str = "0") -> str:
        """Return a new number as `spelling` has it: whole, or in as many parts as there are braces."""
        number = f"987655{len(self.given):04}"
        self.given[number] = where
        digits = "".join(chr(ord(zero) + int(digit)) for digit in number)
        return spelling.format(
            *([digits] if spelling.count("{") == 1 else (digits[:4], digits[4:7], digits[7:]))
        )

    def left_in(self, text: str) -> dict[str, str]:
        """Return which of them stand in a text in full, by where they went in."""
        without_codes = html.unescape(text).encode("utf-8", "replace").decode("unicode_escape", "replace")
        digits = ["".join(digit_of(c) or c * c.isalpha() for c in each) for each in (text, without_codes)]
        return {
            number: where for number, where in self.given.items() if any(number in each for each in digits)
        }


def submit_all(publisher: TransferPublisher, numbers: Numbers, redis_client: redis.Redis) -> list[str]:
    """Send each spelling by each way in; return the ids of those that were accepted."""
    ids = []
    for spelling in SPELLINGS:
        for zero in ZEROES:

            def spell(where: str, spelling: str = spelling, zero: str = zero) -> str:
                return numbers.spell(where, spelling, zero=zero)

            handle = publisher.submit(
                make_intent(
                    reason=f"call {spell('reason')} back",
                    requested_by=f"line {spell('requested_by')}",
                    metadata={"note": spell("metadata")},
                )
            )
            ids.append(handle.transfer_id)
    keyed = publisher.submit(make_intent(idempotency_key=f"order-{numbers.spell('idempotency key')}"))
    with pytest.raises(InvalidIntent):
        make_intent(idempotency_key=numbers.spell("a numeric key", "{}-{}-{}"))
    with pytest.raises(InvalidIntent):
        make_intent(destination=f"desk-{numbers.spell('a name')}")
    for element in (
        numbers.spell("an element", "{} {} {}"),
        build_message(transfer_id=numbers.spell("a task id"), call_id="c", labels={}, queue="transfers"),
        build_message(
            transfer_id="not-a-uuid", call_id="c", labels={"to": numbers.spell("labels")}, queue="transfers"
        ).replace("transfer_tasks.transfer_call", numbers.spell("a task's name")),
    ):
        redis_client.lpush("transfers", element)
    redis_client.xadd("transfer:audit", {"stranger": numbers.spell("the outbox", "{}\u202f{}\u202f{}")})
    return [*ids, keyed.transfer_id]


def test_no_full_number_is_left_in_anything_that_people_or_tools_read(
    cluster: Cluster,
    publisher: TransferPublisher,
    redis_client: redis.Redis,
    ask: Callable[..., Result],
    tmp_path: Path,
) -> None:
    audit_file, numbers = tmp_path / "audit.jsonl", Numbers()
    cluster.environment["TRANSFER_AUDIT_FILE"] = str(audit_file)
    events = redis_client.pubsub()
    events.psubscribe("*celeryev*")
    worker = cluster.start_worker()

    ids = submit_all(publisher, numbers, redis_client)
    ask("pause", "support", "--reason", numbers.spell("why it is paused", "{} {} {}"))
    ask("resume", "support", "--reason", numbers.spell("why it is resumed", "{}:{}:{}"))
    for transfer_id in ids:
        wait_until(lambda of=transfer_id: "transfer.finished" in cluster.audit_events(of), 20)
    wait_until(
        lambda: len(json.loads(ask("quarantine", "list", "--json").stdout)["quarantine"]) >= 3,
        10,
        message="in quarantine",
    )
    wait_until(lambda: not redis_client.xpending("transfer:audit", "audit-writers")["pending"], 10)

    told: Any = iter(lambda: events.get_message(timeout=0.1), None)
    with connect(cluster.redis_url, timeout_seconds=5) as client:
        registry = CollectorRegistry()
        registry.register(LedgerCollector(Ledger(client, retention_seconds=60)))
        metrics = generate_latest(registry).decode()
    left = {
        "the worker's output": worker.output(),
        "the audit file": audit_file.read_text(),
        "Celery's events": "\n".join(str(message["data"]) for message in told),
        "the metrics": metrics,
        "list": ask("list", "--json", "--limit", "200").output,
        "status": ask("status", "--json").output,
        "tail": ask("tail", "--no-follow", "--lines", "1000", "--json").output,
        "quarantine": ask("quarantine", "list", "--json").output,
        **{f"show {transfer_id}": ask("show", transfer_id, "--json").output for transfer_id in ids},
        **{f"why {transfer_id}": ask("why", transfer_id).output for transfer_id in ids[-3:]},
        **{
            f"quarantine show {entry['id']}": ask("quarantine", "show", entry["id"]).output
            for entry in json.loads(ask("quarantine", "list", "--json").stdout)["quarantine"]
        },
    }
    assert audit_file.read_text()
    assert {name: found for name, text in left.items() if (found := numbers.left_in(text))} == {}
