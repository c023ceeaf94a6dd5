"""What a whole run leaves behind, judged at its end: every line of the log, every key."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from support import keys_without_ttl, wait_until
from support.running import TOKEN, Running
from transfer_worker.audit.outbox import AuditEvent

EXAMPLE = "+1 202-555-0143"
"""Nobody's number: what a refusal's fix shows."""

LINE_FIELDS = {
    "timestamp",
    "event",
    "event_id",
    "transfer_id",
    "call_id",
    "idempotency_key",
    "hop",
    "attempt",
}
FINISHED_FIELDS = LINE_FIELDS | {"state", "reason", "source", "waited_ms"}


def wait_for_the_end(running: Running) -> None:
    """Return when every transfer has ended and every line is written."""
    ledger = running.cluster.ledger()
    with ledger.client as client:
        wait_until(lambda: client.llen("transfers") == 0, message="the queue is empty")
        wait_until(lambda: client.hlen(ledger.keys.unacked) == 0, message="all is acknowledged")
        wait_until(lambda: client.zcard(ledger.keys.open_ids) == 0, message="nothing is open")
        last: Any = client.xrevrange(ledger.keys.audit, count=1)
    wait_until(
        lambda: last[0][0] in running.audit_path.read_text("utf-8"),
        message=lambda: f"{last} in the audit file",
    )


def there_is_exactly_one_finished_line_for_each_transfer(running: Running) -> None:
    ledger = running.cluster.ledger()
    with ledger.client as client:
        transfer_ids = {key.rpartition(":")[2] for key in client.scan_iter(ledger.keys.record("*"))}
    lines = running.audit_file()
    assert len({line["event_id"] for line in lines}) == len(lines)
    finished = [line["transfer_id"] for line in lines if line["event"] == "transfer.finished"]
    assert sorted(finished) == sorted(transfer_ids)


def every_audit_line_has_its_fields_and_its_place(running: Running) -> None:
    by_transfer: dict[str, list[dict[str, Any]]] = {}
    for line in running.audit_file():
        assert line.keys() >= LINE_FIELDS
        assert line["event"] in set(AuditEvent)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["timestamp"])
        by_transfer.setdefault(line["transfer_id"], []).append(line)
        match line["event"]:
            case "transfer.finished":
                assert line.keys() >= FINISHED_FIELDS
                assert line["waited_ms"] >= 0
                if line["attempt"] and line["source"] == "worker":
                    assert line.keys() >= {"attempt_ms", "worker"}
            case "transfer.claimed":
                assert line.keys() >= {"worker", "waited_ms"}
            case "transfer.retry_scheduled":
                assert line.keys() >= {"reason", "wait_ms", "attempt_ms", "worker", "http_status"}
            case "transfer.repeated" | "transfer.refused":
                assert line.keys() >= {"verdict", "refused_transfer_id"}
    for lines in by_transfer.values():
        events = [line["event"] for line in lines]
        starts, retries = events.count("transfer.attempt_started"), events.count("transfer.retry_scheduled")
        assert starts - retries in {0, 1}


def the_platform_saw_a_request_for_each_attempt_and_none_besides(running: Running) -> None:
    attempts: dict[str, int] = {}
    for line in running.audit_file():
        if line["event"] == "transfer.attempt_started":
            attempts[line["call_id"]] = attempts.get(line["call_id"], 0) + 1
    seen = {call_id: running.sandbox.post_count(call_id) for call_id in attempts}
    assert seen == attempts
    assert running.sandbox.post_count() == sum(seen.values())


def no_secret_and_no_whole_number_is_in_any_line(running: Running) -> None:
    password = urlsplit(running.cluster.redis_url).password
    assert password
    ledger = running.cluster.ledger()
    with ledger.client as client:
        stream = json.dumps(client.xrange(ledger.keys.audit))
    output = running.output()
    for name, text in (
        ("output", output),
        ("audit file", running.audit_path.read_text("utf-8")),
        ("audit stream", stream),
    ):
        assert TOKEN not in text, name
        assert password not in text, name
        found = re.findall(r"\+?1?[ (]*202[ )-]*555[ -]*\d{4}|20 ?7946 ?0018", text)
        assert set(found) <= {EXAMPLE}, f"{name}: {found[:5]}"


def each_line_of_a_worker_is_json_with_a_time_a_level_and_its_program(running: Running) -> None:
    output = running.worker.output()
    lines = output.splitlines()
    assert len(lines) > 10
    for line in lines:
        fields = json.loads(line)
        assert fields.keys() >= {"event", "timestamp", "level", "service", "version"}
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)$", fields["timestamp"])


def every_audit_line_is_in_the_log_too(running: Running) -> None:
    logged = set(re.findall(r'"event_id": "([\d.-]+)"', running.output()))
    assert {line["event_id"] for line in running.audit_file()} <= logged


def whatever_had_an_id_has_an_outcome(running: Running) -> None:
    ledger = running.cluster.ledger()
    with ledger.client as client:
        for key in client.scan_iter(ledger.keys.record("*")):
            record = ledger.read(key.rpartition(":")[2])
            assert record is not None
            assert record.outcome is not None


def no_key_but_the_queues_stays_for_ever(running: Running) -> None:
    with running.cluster.ledger().client as client:
        assert set(keys_without_ttl(client)) <= {"later"}  # the queue of one test


def the_worker_has_lived_through_it_all(running: Running) -> None:
    assert running.worker.is_running()


CHECKS = [
    there_is_exactly_one_finished_line_for_each_transfer,
    every_audit_line_has_its_fields_and_its_place,
    the_platform_saw_a_request_for_each_attempt_and_none_besides,
    no_secret_and_no_whole_number_is_in_any_line,
    each_line_of_a_worker_is_json_with_a_time_a_level_and_its_program,
    every_audit_line_is_in_the_log_too,
    whatever_had_an_id_has_an_outcome,
    no_key_but_the_queues_stays_for_ever,
    the_worker_has_lived_through_it_all,
]
"""Each is a promise about all that a run has left behind."""
