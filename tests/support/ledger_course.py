"""Steps in a ledger, taken by number: so another ledger takes the same ones, and both can be compared."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from support.ledger_bench import LedgerBench
from support.passing_days import WEEK_SECONDS, point_at
from transfer_tasks.ledger.operator_commands import OperatorCommands
from transfer_tasks.ledger.verdicts import Claim
from transfer_worker.audit.outbox import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from transfer_tasks.connection import ConnectionStatus, ReportSource
    from transfer_tasks.outcome import Reason, State

COMPARED = {
    *("state", "call_id", "key", "hop", "attempt", "token", "destination_digest", "content_digest", "reason"),
    *("source", "http_status", "detail", "labels", "moved_by", "request_id", "reported", "connection"),
}


class Course:
    """One ledger, and the steps that were taken in it: all by number, so that another takes the same.

    Args:
        client: The Redis.
        name: The namespace.
        now: When the course began, for sources that say when something happened.
    """

    def __init__(self, client: Any, name: str, now: datetime) -> None:
        self.bench = LedgerBench(
            client, namespace=name, queue=f"{name}:queue", retention_seconds=WEEK_SECONDS
        )
        self.operator = OperatorCommands(retention_seconds=WEEK_SECONDS, namespace=name)
        self.now = now
        self.ids: list[str] = []
        self.claims: list[Claim] = []
        self.bench.limit()
        self.bench.heartbeat()
        point_at(self.bench, 10**9)  # nothing is compacted before it is time

    def take(self, step: tuple[Any, ...]) -> Any:
        """Take a step; nothing happens where what it is about is not there."""
        name, *about = step
        if not self.ids and name not in {"ask", "live", "lose", "erase"}:
            return None
        return getattr(self, f"take_{name}")(*about)

    def pick(self, number: int) -> str:
        return self.ids[number % len(self.ids)]

    def take_ask(
        self, call_id: str, destination: str, key: str, repeat_window_ms: int, after: str = ""
    ) -> Any:
        transfer_id = f"t-{len(self.ids)}"
        self.ids.append(transfer_id)
        return self.bench.accept(
            call_id=call_id,
            destination=destination,
            key=key,
            content=f"{call_id}{destination}",
            transfer_id=transfer_id,
            repeat_window_ms=repeat_window_ms,
            after=after,
        )

    def take_after(self, call_id: str, number: int) -> Any:
        ids: Any = self.bench.client.lrange(self.bench.keys.call(call_id), -1 - number % 2, -1)
        return self.take_ask(call_id, "support", "", 0, after=ids[0]) if ids else None

    def take_again(self, number: int) -> Any:
        return self.bench.accept(call_id="call-1", content="call-1support", transfer_id=self.pick(number))

    def take_as_other(self, number: int) -> Any:
        return self.bench.accept(call_id="call-3", content="other", transfer_id=self.pick(number))

    def take_send(self, number: int, ending: tuple[State, Reason] | None, request_id: str) -> Any:
        claim = self.take_claim(number)
        if not isinstance(claim, Claim):
            return claim
        begun = self.bench.begin(claim, attempt=claim.attempts + 1)
        return claim, begun, ending and self.take_end(len(self.claims) - 1, ending, request_id)

    def take_live(self, ask: Any, endings: list[Any], request_id: str, is_settled: bool) -> Any:
        """The way to most endings, which are rare at random; without one, the worker dies."""
        said, newest = [self.take(ask)], len(self.ids) - 1
        said += [self.take_send(newest, ending, request_id) for ending in endings or [None]]
        said += [self.take_lose()] if not endings else []
        return said + ([self.take_settle(newest, False)] if is_settled else [])

    def take_claim(self, number: int) -> Any:
        claim = self.bench.claim(self.pick(number), claim_id=f"c-{len(self.claims)}")
        if isinstance(claim, Claim):
            self.claims.append(claim)
        return claim

    def take_begin(self, number: int) -> Any:
        if not self.claims:
            return None
        claim = self.claims[number % len(self.claims)]
        return self.bench.begin(claim, attempt=claim.attempts + 1 + number // 3)

    def take_end(self, number: int, ending: tuple[State, Reason], request_id: str) -> Any:
        if not self.claims:
            return None
        answer = {"message": "queued"} | ({"request_id": request_id} if request_id else {})
        claim = self.claims[number % len(self.claims)]
        return self.bench.end(claim, *ending, detail="a word", answer_json=json.dumps(answer))

    def take_report(
        self,
        call_id: str,
        request_id: str,
        named: int | None,
        status: ConnectionStatus,
        source: ReportSource,
        ring_seconds: int,
        days_ago: int | None,
    ) -> Any:
        if not (call_id or request_id) and named is None:
            return None
        return self.bench.report(
            status,
            call_id,
            request_id,
            source=source,
            ring_seconds=ring_seconds,
            transfer_id="" if named is None else self.pick(named),
            at=None if days_ago is None else self.now - timedelta(hours=10 * days_ago),
        )

    def take_lose(self) -> Any:
        self.bench.bury()
        lost = self.bench.recover()
        self.bench.heartbeat()
        return lost

    def take_settle(self, number: int, is_transferred: bool) -> Any:
        return self.bench.resolve(self.pick(number), transferred=is_transferred)

    def take_cancel(self, number: int) -> Any:
        return self.bench.cancel(self.pick(number))

    def take_expire(self, number: int) -> Any:
        return self.bench.expire(self.pick(number))

    def take_refuse(self, number: int) -> Any:
        return self.bench.refuse(self.pick(number))

    def take_erase(self, call_id: str) -> Any:
        ids: Any = self.bench.client.lrange(self.bench.keys.call(call_id), 0, -1)
        return self.bench.run(
            self.operator.erase(
                call_id,
                transfer_ids=ids,
                lines=[],
                audit_group=GROUP,
                dead_letters=[],
                messages=[],
                tags=[],
                operator="ana",
                reason="r",
            )
        )

    def records(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield what each record says."""
        for name in sorted(self.bench.client.scan_iter(self.bench.keys.record("*"), count=1000)):
            held: Any = self.bench.client.hgetall(name)
            yield name.rpartition(":")[2], dict(held)

    def left(self) -> dict[str, Any]:
        """Return what all of them say in the end: the words apart, and times."""
        return {
            "records": {
                transfer_id: {
                    name: mask_times(text) for name, text in held.items() if name in COMPARED and text
                }
                | {"late": {name: text for name, text in held.items() if name.startswith("late:")}}
                for transfer_id, held in self.records()
            },
            "lines": [
                {name: mask_times(repr(value)) for name, value in line.items() if not name.endswith("_ms")}
                # What was asked for within one millisecond, a sweep finds in any order.
                for line in sorted(self.bench.audit(), key=lambda line: str(line["transfer_id"]))
            ],
            "indexes": [self.bench.index(name) for name in ("waiting", "in_flight", "unknown")],
        }


def mask_times(text: str) -> str:
    """Return a text without points in time, names of namespaces, and ids of audit lines."""
    text = re.sub(r"remaining_ms=\d+", "remaining_ms", re.sub(r"\d{13}(-\d+)?", "T", text))
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.+]+Z?", "T", text)
    try:
        said = json.loads(text)
    except ValueError:
        return text
    return json.dumps(said, sort_keys=True) if isinstance(said, dict) else text
