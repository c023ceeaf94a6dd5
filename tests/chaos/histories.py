"""Histories written by hand: one transfer that went as it should, and other ends of it."""

from __future__ import annotations

import json
from typing import Any

from chaos.history import Ask, Fault, History, Line, Post
from chaos.neighbour import NeighbourTask
from transfer_tasks.ledger.record import TransferRecord

START_MS = 1_800_000_000_000.0
CALL, ONE, TWO = "call-1", "transfer-1", "transfer-2"
TO, ELSEWHERE = "12025550141", "12025550142"
WORKER = "node-1@host/1-abc"


def make_line(number: int, event: str, after_ms: float, **fields: Any) -> Line:
    transfer_id = fields.pop("transfer_id", ONE)
    attempt = fields.pop("attempt", 0)
    return Line(
        at_ms=START_MS + after_ms,
        event_id=f"{number}-0",
        event=event,
        transfer_id=transfer_id,
        attempt=attempt,
        fields={"worker": WORKER, "idempotency_key": f"{transfer_id}:key", **fields},
    )


def make_record(transfer_id: str = ONE, **fields: Any) -> TransferRecord:
    values = {
        "state": "submitted",
        "reason": "accepted_by_platform",
        "hop": "1",
        "attempt": "1",
        "attempt:1": json.dumps({"reason": "accepted_by_platform", "http_status": 200}),
        "accepted_ms": int(START_MS),
        "expires_ms": int(START_MS + 10_000),
        "ended_ms": int(START_MS + 100),
        "intent": json.dumps({"destination": {"endpoints": [{"number": TO}]}}),
        **fields,
    }
    return TransferRecord.from_hash(
        transfer_id,
        {
            "call_id": CALL,
            "key": f"{transfer_id}:key",
            **{name: str(value) for name, value in values.items()},
        },
    )


def make_post(after_ms: float = 50.0, **fields: Any) -> Post:
    values: dict[str, Any] = {
        "call_id": CALL,
        "key": f"{ONE}:key",
        "to": TO,
        "behaviour": "ok",
        "status": 200,
        "carried_out": True,
    }
    return Post(at_ms=START_MS + after_ms, **{**values, **fields})


def make_ask(action: str, reply: str, after_ms: float = 0.0, **fields: Any) -> Ask:
    values = {"who": "p1", "transfer_id": ONE, "call_id": CALL, "to": TO, **fields}
    took_ms = values.pop("took_ms", 1.0)
    at_ms = START_MS + after_ms
    return Ask(at_ms=at_ms, answered_ms=at_ms + took_ms, action=action, reply=reply, **values)


def make_history() -> History:
    """One transfer that went as it should."""
    lines = [
        make_line(1, "accepted", 0),
        make_line(2, "claimed", 10),
        make_line(3, "attempt_started", 20, attempt=1),
        make_line(4, "finished", 100, attempt=1, state="submitted", reason="accepted_by_platform"),
    ]
    return History(
        asks=[
            make_ask("submit", "accepted", about=ONE, expires_ms=START_MS + 10_000),
            make_ask("outcome", "submitted", 101),
        ],
        posts=[make_post()],
        lines=lines,
        records={ONE: make_record()},
        stream_ids={line.event_id for line in lines},
        printed_ids={line.event_id for line in lines},
        slots={"node-1": "w1"},
    )


def make_unknown(reason: str = "answer_lost", source: str = "worker", **post: Any) -> History:
    """One transfer whose answer was lost."""
    history = make_history()
    history.asks[1] = make_ask("outcome", "unknown", 101)
    history.posts = [make_post(behaviour="silence", status=None, **post)]
    history.lines[3] = make_line(4, "finished", 100, attempt=1, state="unknown", reason=reason, source=source)
    note = json.dumps({"reason": reason})
    history.records[ONE] = make_record(state="unknown", reason=reason, **{"attempt:1": note})
    return history


def make_ended(state: str, reason: str) -> History:
    """One transfer that ended before anything was sent."""
    history = make_history()
    history.asks[1] = make_ask("outcome", state, 101)
    history.posts = []
    history.lines[2:] = [make_line(3, "finished", 100, state=state, reason=reason)]
    history.records[ONE] = make_record(state=state, reason=reason, attempt=0)
    history.stream_ids = {line.event_id for line in history.lines}
    history.printed_ids = set(history.stream_ids)
    return history


def fault(kind: str, target: str, since_ms: float = 40.0, until_ms: float = 90.0) -> Fault:
    return Fault(kind=kind, target=target, begun_ms=START_MS + since_ms, ended_ms=START_MS + until_ms)


def make_neighbour_task(*, starts: int) -> NeighbourTask:
    return NeighbourTask(run_id="7", sent_ms=START_MS, until_ms=START_MS + 5000, starts=starts)
