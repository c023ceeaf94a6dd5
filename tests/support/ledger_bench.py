"""The ledger on a bench: every step with sensible defaults, on a real Redis, the record and audit at hand."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from transfer_tasks.connection import ConnectionReason, ConnectionReport, ConnectionStatus, ReportSource
from transfer_tasks.ledger.keys import IN_FLIGHT, WAITING
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.ledger.verdicts import Claim, Ended, Reading
from transfer_tasks.outcome import Reason, State, TransferOutcome
from transfer_tasks.publisher.message import build_message, write_notification
from transfer_tasks.signature import Written
from transfer_worker.audit.outbox import GROUP, read_lines
from transfer_worker.monitoring.present import read_present

if TYPE_CHECKING:
    from datetime import datetime

    import redis

    from transfer_tasks.connection import ReportResult
    from transfer_tasks.ledger.record import TransferRecord
    from transfer_tasks.ledger.script import Command
    from transfer_tasks.ledger.verdicts import (
        Accepted,
        Begun,
        Lost,
        Missing,
        Open,
        Recovered,
        TryAgain,
    )

T = TypeVar("T")

LONG_MS = 60_000
FAR_MS = 10**14
"""A point in time that never comes."""


class LedgerBench:
    """Steps of any worker and any publisher.

    Args:
        client: Made by `transfer_tasks.redis.connection.connect`.
        namespace: What every key begins with.
        queue: Where messages go.
        retention_seconds: How long a record is kept. Nothing is compacted unless that is more than a day.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "transfer",
        queue: str = "transfers",
        retention_seconds: int = 1000,
    ) -> None:
        self.client, self.queue = client, queue
        self.ledger = Ledger(client, namespace=namespace, retention_seconds=retention_seconds)
        self.keys, self.commands = self.ledger.keys, self.ledger.commands

    def run(self, command: Command[T]) -> T:
        """Run any step."""
        return self.ledger.run(command)

    def accept(
        self,
        *,
        call_id: str | None = None,
        destination: str = "support",
        key: str = "",
        content: str | None = None,
        transfer_id: str | None = None,
        remaining_ms: int | None = LONG_MS,
        repeat_window_ms: int = 30_000,
        reply_to: str = "",
        queue: str | None = None,
        after: str = "",
        latest_ms: int = FAR_MS,
        asked_by: str = "",
        signature: str = "",
    ) -> Accepted:
        """Ask for a transfer; equal `destination` and `content` are equal requests."""
        transfer_id = transfer_id or str(uuid.uuid4())
        return self.run(
            self.commands.accept(
                transfer_id=transfer_id,
                call_id=call_id or str(uuid.uuid4()),
                idempotency_key=key,
                destination_digest=destination,
                content_digest=content or destination,
                intent_json=json.dumps(
                    {"destination": destination} | ({"requested_by": asked_by} if asked_by else {})
                ),
                signature=signature,
                labels_json=json.dumps({"destination": destination}),
                message=json.dumps({"headers": {"id": transfer_id}}),
                queue=self.queue if queue is None else queue,
                remaining_ms=remaining_ms,
                repeat_window_ms=repeat_window_ms,
                reply_to=reply_to,
                asked_json=json.dumps({"requested_by": asked_by or "test"}),
                after=after,
                latest_ms=latest_ms,
            )
        )

    def claim(
        self, transfer_id: str, *, worker: str = "w1", claim_id: str | None = None, routed: Reading | str = ""
    ) -> Claim | Ended | Open | Missing:
        """Claim as `worker`; begin the attempt, too, if `routed` is (of) the intent on record."""
        return self.run(
            self.commands.claim(
                transfer_id,
                worker=worker,
                claim_id=claim_id or uuid.uuid4().hex,
                routed=self.read(transfer_id, routed) if isinstance(routed, str) else routed,
            )
        )

    def read(self, transfer_id: str, intent_json: str) -> Reading | None:
        """Return what a worker reads in the intent of an honest record; None without one.

        Of the spellings of a destination it knows those that name one.
        """
        record = self.ledger.read(transfer_id) if intent_json else None
        if record is None:
            return None
        try:
            said = json.loads(intent_json).get("destination", "")
        except ValueError:
            return None
        name = said.get("name", "") if isinstance(said, dict) else said
        return Reading(intent_json=intent_json, call_id=record.call_id, labels={"destination": name})

    def claim_and_begin(self, transfer_id: str, **options: Any) -> Claim | Ended | Open | Missing:
        """Claim with the intent on record in hand."""
        record = self.ledger.read(transfer_id)
        return self.claim(transfer_id, routed=record.intent_json if record else "", **options)

    def begin(self, claim: Claim, *, attempt: int = 1) -> Begun | Lost:
        """Begin an attempt."""
        return self.run(self.commands.begin_attempt(claim, attempt=attempt))

    def begin_first(self, call_id: str, *, destination: str = "support") -> Claim:
        """Bring a new transfer of a call to its first request."""
        claim = self.claim(self.accept(call_id=call_id, destination=destination).transfer_id)
        assert isinstance(claim, Claim)
        self.begin(claim)
        return claim

    def end(
        self,
        claim: Claim,
        state: State = State.SUBMITTED,
        reason: Reason = Reason.ACCEPTED_BY_PLATFORM,
        *,
        http_status: int | None = 200,
        detail: str = "",
        answer_json: str = "",
    ) -> Ended | TryAgain | Lost:
        """End an attempt."""
        return self.run(
            self.commands.end_attempt(
                claim,
                state=state,
                reason=reason,
                http_status=http_status,
                detail=detail,
                answer_json=answer_json,
                attempt_ms=12,
                wait_ms=100 if state is State.CLAIMED else None,
            )
        )

    def retry(self, claim: Claim) -> Ended | TryAgain | Lost:
        """End an attempt that was proven not carried out, with another to come."""
        return self.end(claim, State.CLAIMED, Reason.PLATFORM_UNAVAILABLE, http_status=503)

    def lose_answer(self, claim: Claim) -> Ended | TryAgain | Lost:
        """End an attempt whose answer never came."""
        return self.end(claim, State.UNKNOWN, Reason.ANSWER_LOST, http_status=None)

    def cancel(self, transfer_id: str) -> tuple[bool, Ended | Open | Missing]:
        """Cancel as the session."""
        return self.run(
            self.commands.cancel(
                transfer_id, reason=Reason.CANCELLED_BY_SESSION, source="session", detail="hung up"
            )
        )

    def expire(self, transfer_id: str) -> Ended | Open | Missing:
        """Ask whether the deadline has passed."""
        return self.run(self.commands.expire(transfer_id, source="publisher"))

    def resolve(self, transfer_id: str, *, transferred: bool) -> Ended | Lost | Missing:
        """Settle by evidence."""
        return self.run(
            self.commands.resolve(
                transfer_id, transferred=transferred, source="operator", detail="seen in the call log"
            )
        )

    def report(
        self,
        status: str,
        call_id: str = "",
        request_id: str = "",
        *,
        source: str = "room",
        reason: str = "",
        caller_gone: bool = False,
        transfer_id: str = "",
        ring_seconds: float | None = None,
        detail: str = "",
        at: datetime | None = None,
    ) -> ReportResult:
        """Say what became of a request after it was accepted."""
        report = ConnectionReport(
            call_id=call_id,
            request_id=request_id,
            status=ConnectionStatus(status),
            source=ReportSource(source),
            reason=ConnectionReason(reason) if reason else None,
            caller_gone=caller_gone,
            transfer_id=transfer_id,
            at=at,
        )
        return self.run(
            self.commands.report_connection(report, longest_ring_seconds=ring_seconds, detail=detail)
        )

    def refuse(self, transfer_id: str, *, reason: Reason = Reason.INVALID_INTENT) -> Ended | None:
        """Refuse a message that came without a record."""
        return self.run(
            self.commands.refuse(
                transfer_id, call_id="", state=State.REJECTED, reason=reason, detail="call_id: is missing"
            )
        )

    def heartbeat(self, worker: str = "w1", *, lease_ms: int = LONG_MS) -> None:
        """Renew a worker's lease."""
        self.run(self.commands.heartbeat(worker=worker, lease_ms=lease_ms, about_json="{}", queue=self.queue))

    def limit(self, **limits: str) -> bool:
        """Put limits on rate in force; the one of a call is off unless it is given."""
        named = {name.replace("__", ":"): text for name, text in limits.items()}
        return self.run(self.commands.set_limits({"call": "off"} | named, worker="w1"))

    def bury(self, worker: str = "w1") -> None:
        """Let a worker's lease be over, as after `kill -9` and a while."""
        self.client.delete(self.keys.worker(worker))
        if self.client.zscore(self.keys.workers, worker) is not None:
            self.client.zadd(self.keys.workers, {worker: 1})

    def recover(
        self,
        *,
        interval_ms: int = 0,
        lease_ms: int = 0,
        attempt_bound_ms: int = LONG_MS,
        limit: int = 500,
        grace_ms: int = 0,
        audit_kept: int = 1000,
        audit_bound: int = 2000,
    ) -> Recovered:
        """Sweep, by default at once and trusting nobody's silence."""
        return self.run(
            self.commands.recover(
                interval_ms=interval_ms,
                lease_ms=lease_ms,
                queue=self.queue,
                attempt_bound_ms=attempt_bound_ms,
                limit=limit,
                grace_ms=grace_ms,
                audit_group=GROUP,
                audit_kept=audit_kept,
                audit_bound=audit_bound,
                notification=write_notification(self.queue),
            )
        )

    def record(self, transfer_id: str) -> TransferRecord:
        """Return the record, which must be there."""
        record = self.ledger.read(transfer_id)
        assert record is not None, f"no record of {transfer_id}"
        return record

    def write_message(self, transfer_id: str) -> str:
        """Return a notification as its publisher has sent it, with intent and signature."""
        fields: Any = self.client.hgetall(self.keys.record(transfer_id))
        return build_message(
            transfer_id=transfer_id,
            call_id=fields["call_id"],
            labels={},
            queue=self.queue,
            written=Written(fields["intent"], fields["signature"]),
        )

    def audit(self, transfer_id: str | None = None) -> list[dict[str, Any]]:
        """Return the audit lines of one transfer or of all, in order."""
        entries: Any = self.client.xrange(self.keys.audit)
        lines = [line for entry_id, fields in entries for line in read_lines(entry_id, fields)]
        return [line for line in lines if transfer_id in (None, line["transfer_id"])]

    def write_lines(self) -> None:
        """Let every line of the outbox be written, as a worker does."""
        client: Any = self.client
        if not client.xinfo_groups(self.keys.audit):
            client.xgroup_create(self.keys.audit, GROUP, id="0")
        while reply := client.xreadgroup(GROUP, "w", {self.keys.audit: ">"}):
            client.xack(self.keys.audit, GROUP, *(event_id for event_id, _ in reply[0][1]))

    def counted(self, field: str) -> int:
        """Return what was counted since the beginning."""
        return read_present(self.ledger).totals[field]

    def events(self, transfer_id: str) -> list[str]:
        """Return the names of a transfer's audit lines without their prefix."""
        return [line["event"].removeprefix("transfer.") for line in self.audit(transfer_id)]

    def queued(self) -> list[str]:
        """Return the ids on the queue, the one that is taken next first."""
        elements: Any = self.client.lrange(self.queue, 0, -1)
        return [json.loads(element)["headers"]["id"] for element in reversed(elements)]

    def index(self, name: str) -> set[str]:
        """Return what is `waiting`, `in_flight` or `unknown`, as the indexes say."""
        scores = {"waiting": WAITING, "in_flight": IN_FLIGHT}
        if name in scores:
            members: Any = self.client.zrangebyscore(self.keys.open_ids, *scores[name])
        else:
            members = self.client.zrange(getattr(self.keys, name), 0, -1)
        return set(members)


def start(bench: LedgerBench, **asked: Any) -> Claim:
    """Bring a transfer to its first request."""
    claim = bench.claim(bench.accept(**asked).transfer_id)
    assert isinstance(claim, Claim)
    bench.begin(claim)
    return claim


def finish(
    bench: LedgerBench,
    *,
    state: State = State.SUBMITTED,
    reason: Reason = Reason.ACCEPTED_BY_PLATFORM,
    **asked: Any,
) -> str:
    """Bring a transfer to its end and return its id."""
    claim = start(bench, **asked)
    bench.end(claim, state, reason)
    return claim.transfer_id


def disbelieve(bench: LedgerBench, **asked: Any) -> Claim:
    """Bring a transfer to where its worker was given up, and somebody has said that it moved nothing."""
    claim = start(bench, **asked)
    bench.bury()
    bench.recover()
    bench.resolve(claim.transfer_id, transferred=False)
    return claim


def move_twice(bench: LedgerBench, *, call_id: str | None = None) -> list[str]:
    """Move a call twice, by wrong evidence and a late answer; return the two transfers."""
    call_id = call_id or str(uuid.uuid4())
    first = disbelieve(bench, call_id=call_id)
    second = finish(bench, call_id=call_id)
    bench.end(first)
    return [first.transfer_id, second]


def outcome_of(reply: Ended | object) -> TransferOutcome:
    """Return the outcome that a step's reply carries; fail if it carries none."""
    assert isinstance(reply, Ended)
    return reply.outcome
