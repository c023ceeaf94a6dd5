"""What always holds in the ledger, whatever steps were taken: looked at after each of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
)

from transfer_tasks.outcome import GUIDE, Reason, State

if TYPE_CHECKING:
    import redis

    from support.ledger_bench import LedgerBench

CALLS = ("call-1", "call-2")
FIELDS = (
    *("call_id", "state", "token", "attempt", "hop", "key", "reason"),
    *("request_id", "reported", "connection", "rings_until_ms"),
)


@dataclass(frozen=True)
class Seen:
    """What matters of one record at one moment."""

    call_id: str
    state: State
    token: int
    attempt: int
    hop: int
    key: str
    reason: str
    request_id: str
    reported: str
    connection: str
    rings_until_ms: int

    @classmethod
    def of(cls, fields: dict[str, str | None]) -> Seen:
        """Read what Redis says."""
        said = {name: text or "" for name, text in fields.items()}
        return cls(
            call_id=said["call_id"],
            state=State(said["state"]),
            token=int(said["token"]),
            attempt=int(said["attempt"]),
            hop=int(said["hop"]),
            key=said["key"],
            reason=said["reason"],
            request_id=said["request_id"],
            reported=said["reported"],
            connection=json.dumps(json.loads(said["connection"] or "{}"), sort_keys=True),
            rings_until_ms=int(said["rings_until_ms"] or 0),
        )

    @property
    def final(self) -> tuple[str, str] | None:
        """Whether anybody picked up, and whose word that is."""
        said = json.loads(self.connection)
        return (said["status"], said["source"]) if said.get("status", "ringing") != "ringing" else None


class LedgerInvariants(RuleBasedStateMachine):
    """A ledger on a real Redis, and what its last look saw.

    Attributes:
        before: Every record, by its id.
    """

    client: redis.Redis
    bench: LedgerBench
    before: dict[str, Seen]

    def look(self) -> dict[str, Seen]:
        names: Any = self.client.keys(self.bench.keys.record("*"))
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(name, *FIELDS)
            rows = pipe.execute()
        return {
            name.rpartition(":")[2]: Seen.of(dict(zip(FIELDS, row, strict=True)))
            for name, row in zip(names, rows, strict=True)
        }

    def now_ms(self) -> int:
        seconds, microseconds = self.client.time()
        return seconds * 1000 + microseconds // 1000

    # --- what always holds

    @invariant()
    def at_most_one_transfer_of_a_call_is_open(self) -> None:
        for call_id in CALLS:
            assert sum(s.state.is_open for s in self.records() if s.call_id == call_id) <= 1

    @invariant()
    def the_indexes_agree_with_the_records(self) -> None:
        for name, states in (
            ("waiting", {State.WAITING}),
            ("in_flight", {State.CLAIMED, State.SENDING}),
            ("unknown", {State.UNKNOWN}),
        ):
            expected = {key for key, seen in self.before.items() if seen.state in states}
            assert self.bench.index(name) == expected, name

    @invariant()
    def the_attempts_say_what_is_known_of_each(self) -> None:
        for key, seen in self.before.items():
            record = self.bench.record(key)
            notes = record.attempt_notes
            assert len(notes) == seen.attempt or (record.is_compacted and len(notes) == seen.attempt - 1)
            # Only the last attempt may be open: every one before it was proven not carried out.
            assert {note["reason"] for note in notes[:-1]} <= {Reason.PLATFORM_UNAVAILABLE}

    @invariant()
    def hops_grow_one_by_one(self) -> None:
        for call_id in CALLS:
            ids: Any = self.client.lrange(self.bench.keys.call(call_id), 0, -1)
            assert [self.before[key].hop for key in ids] == list(range(1, len(ids) + 1))
            assert {key for key, seen in self.before.items() if seen.call_id == call_id} == set(ids)

    @invariant()
    def no_key_belongs_to_two_transfers(self) -> None:
        keys = [seen.key for seen in self.records() if seen.key]
        assert len(keys) == len(set(keys))

    @invariant()
    def no_request_belongs_to_two_transfers(self) -> None:
        requests = [seen.request_id for seen in self.records() if seen.request_id]
        assert len(requests) == len(set(requests))

    @invariant()
    def what_the_platform_has_reported_on_was_accepted_or_waits_for_its_answer(self) -> None:
        """So no attempt follows: `submitted` is an ending."""
        for seen in self.records():
            if seen.reported:
                assert seen.state in {State.SENDING, State.SUBMITTED}

    @invariant()
    def every_key_has_a_ttl(self) -> None:
        names: Any = self.client.keys(f"{self.bench.keys.namespace}:*")
        with self.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.pttl(name)
            assert all(ttl > 0 for ttl in pipe.execute())

    @invariant()
    def every_ending_has_its_line_and_the_line_says_what_the_record_says(self) -> None:
        finished: dict[str, list[dict[str, Any]]] = {key: [] for key in self.before}
        resolved: dict[str, list[dict[str, Any]]] = {key: [] for key in self.before}
        lines = self.bench.audit()
        for line in lines:
            if line["event"] == "transfer.finished":
                assert not resolved[line["transfer_id"]]
                finished[line["transfer_id"]].append(line)
            elif line["event"] == "transfer.resolved":
                assert finished[line["transfer_id"]][0]["state"] == "unknown"
                resolved[line["transfer_id"]].append(line)
        for key, seen in self.before.items():
            assert len(finished[key]) == (0 if seen.state.is_open else 1)
            if not seen.state.is_open:
                last = [*finished[key], *resolved[key]][-1]
                assert (last["state"], last["reason"]) == (seen.state, seen.reason)
                assert GUIDE[Reason(seen.reason)].state is seen.state
            begun = [
                line["attempt"]
                for line in lines
                if (line["transfer_id"], line["event"]) == (key, "transfer.attempt_started")
            ]
            assert begun == list(range(1, seen.attempt + 1))

    def calls_of(self, call_id: str) -> list[Seen]:
        return [seen for seen in self.before.values() if seen.call_id == call_id]

    def records(self) -> list[Seen]:
        return list(self.before.values())
