"""What the four observers saw, in one shape each; all times in milliseconds since the epoch, one machine."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from chaos.neighbour import NeighbourTask
    from chaos.witness import Beat
    from transfer_tasks.ledger.record import TransferRecord

_SAYS_THAT_REDIS_IS_AWAY: Final = re.compile(
    r"LedgerUnavailable\(|Task neighbour\.\S+ raised unexpected: \S*(Connection|Timeout)Error"
)
"""A task of ours, and one of the neighbour's, which asks Redis by itself."""

_EVENT_ID = re.compile(r'"event_id": "([0-9]+-[0-9]+(?:\.[0-9]+)?)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One thing a session did, and the reply.

    Attributes:
        action: submit, cancel, outcome, celery (a message of plain Celery's), revoke or poison.
        to: The number that was asked for.
        key: The session's own idempotency key, or nothing.
        reply: For a submission accepted, repeat, in_progress, conflict, unavailable or answer_lost; for a
            cancel cancelled, too_late or no_answer; for an outcome its state, or timeout.
        about: For a repeat, or what stood in the way, that transfer's id; for an outcome its reason; for a
            message of plain Celery's the way it was sent.
    """

    at_ms: float
    answered_ms: float
    who: str
    action: str
    transfer_id: str
    reply: str
    call_id: str = ""
    to: str = ""
    key: str = ""
    expires_ms: float = 0.0
    about: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a caller heard in a voice session, or its model was told.

    Attributes:
        who: caller or model.
        word: What it says of the call: moving, not_moved, or open.
        text: The sentence, or the reason.
    """

    at_ms: float
    call_id: str
    who: str
    word: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What became of the transfer of one call, and of the words that were told of it in the room.

    Attributes:
        request_id: The sandbox's; empty where no request was carried out.
        status: queued, started, completed or failed.
        has_another: Whether words were told of another transfer of the call, too.
        asked: How often the workers have asked the platform about it.
        told: What the ledger replied to final words.
    """

    call_id: str
    request_id: str
    status: str
    has_another: bool
    asked: int = 0
    told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request that reached the sandbox, or the middleman in front of it.

    Attributes:
        behaviour: What was done about it, and told to the worker: the sandbox's, or the middleman's.
        is_disturbed: Whether bytes came along with its answer that did not belong to it.
        running: With a 409, the key of the transfer that was in progress.
    """

    at_ms: float
    call_id: str
    key: str
    to: str
    behaviour: str
    status: int | None
    carried_out: bool
    is_disturbed: bool = False
    running: str = ""

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> Post:
        numbers = [
            endpoint.get("number", "")
            for action in entry["pipeline"] or []
            for endpoint in action.get("endpoints", [])
        ]
        return cls(
            at_ms=entry["received_at_ms"],
            call_id=entry["call_id"],
            key=entry["idempotency_key"] or "",
            to=numbers[0] if numbers else "",
            behaviour=entry["behaviour"],
            status=entry["status"],
            carried_out=entry["carried_out"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One audit line."""

    at_ms: float
    event_id: str
    event: str
    transfer_id: str
    attempt: int
    fields: dict[str, Any]

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Line:
        return cls(
            at_ms=datetime.fromisoformat(fields["timestamp"]).timestamp() * 1000,
            event_id=fields["event_id"],
            event=fields["event"].rpartition(".")[2],
            transfer_id=fields["transfer_id"],
            attempt=fields["attempt"],
            fields=fields,
        )

    @property
    def order(self) -> tuple[int, ...]:
        """Redis gives the entries of one stream one order; the lines of an entry have theirs behind a dot."""
        return tuple(map(int, self.event_id.replace(".", "-").split("-")))

    @property
    def worker(self) -> str:
        """The name of the worker process that the line tells of, or nothing."""
        return str(self.fields.get("worker", ""))


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault as it happened; open until `ended_ms` is set."""

    kind: str
    target: str
    begun_ms: float
    ended_ms: float = float("inf")

    def overlaps(self, since_ms: float, until_ms: float) -> bool:
        return self.begun_ms <= until_ms and self.ended_ms >= since_ms

    @property
    def seconds(self) -> float:
        return (self.ended_ms - self.begun_ms) / 1000


@dataclass(slots=True, kw_only=True)
class History:
    """Everything that happened in one run.

    Attributes:
        heard: What was told in voice sessions.
        voice_calls: The calls of voice sessions; the agents of all others leave by themselves.
        records: The ledger's records by transfer id.
        lines: The workers' audit files, each event once.
        stream_ids: Event ids in the ledger's outbox; a line must have been written for each.
        slots: Which of w1, w2, … a worker's Celery node was, by the part of its name before the @.
        task_errors: What a worker raised and should not have.
        middleman: How often the proxy in front of the sandbox did what.
        printed_ids: Event ids of the audit lines on the workers' stdout.
        courses: Transfers that rang and ended, by call.
        neighbour_tasks: What another application on the same Redis ran.
        beats: How slow the machine was, and when.
        broken_lines: Lines of the audit files that are not JSON.
        audit_faults: What `audit verify` says of the audit file, which nobody has edited.
        repeated_lines: How many lines were written more than once.
    """

    asks: list[Ask] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    voice_calls: set[str] = field(default_factory=set)
    records: dict[str, TransferRecord] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    stream_ids: set[str] = field(default_factory=set)
    slots: dict[str, str] = field(default_factory=dict)
    task_errors: list[str] = field(default_factory=list)
    middleman: Counter[str] = field(default_factory=Counter)
    printed_ids: set[str] = field(default_factory=set)
    neighbour_tasks: list[NeighbourTask] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    broken_lines: int = 0
    audit_faults: list[str] = field(default_factory=list)
    repeated_lines: int = 0
    courses: dict[str, Course] = field(default_factory=dict)

    def read_audit_file(self, path: Path) -> None:
        """Add the lines of a file in which the workers may have written one twice, or half."""
        seen: dict[str, Line] = {}
        for text in path.read_text("utf-8", "replace").splitlines():
            try:
                line = Line.from_fields(json.loads(text))
            except (ValueError, KeyError):
                self.broken_lines += 1
                continue
            self.repeated_lines += line.event_id in seen
            seen[line.event_id] = line
        self.lines = sorted(seen.values(), key=lambda line: line.order)

    def read_worker_log(self, path: Path) -> None:
        """Add the audit lines, and what Celery says of tasks that failed as no transfer may."""
        for text in path.read_text("utf-8", "replace").splitlines():
            if "raised unexpected" in text and not _SAYS_THAT_REDIS_IS_AWAY.search(text):
                self.task_errors.append(text)
            self.printed_ids.update(_EVENT_ID.findall(text))

    def read_sandbox_file(self, path: Path) -> None:
        """Add what the sandbox wrote down."""
        self.posts = [Post.from_entry(json.loads(text)) for text in path.read_text("utf-8").splitlines()]

    def slot_of(self, worker: str) -> str:
        """Return the slot of a worker process; nothing if it is none of ours."""
        return self.slots.get(worker.partition("@")[0], "")

    def faults_between(self, since_ms: float, until_ms: float) -> Iterable[Fault]:
        return (fault for fault in self.faults if fault.overlaps(since_ms, until_ms))

    def dump(self, path: Path) -> None:
        """Keep all of it for somebody to read."""
        path.write_text(
            json.dumps(
                {
                    "asks": [asdict(ask) for ask in self.asks],
                    "heard": [asdict(heard) for heard in self.heard],
                    "posts": [asdict(post) for post in self.posts],
                    "lines": [line.fields for line in self.lines],
                    "faults": [asdict(fault) for fault in self.faults],
                    "slots": self.slots,
                    "task_errors": self.task_errors,
                    "beats": [asdict(beat) for beat in self.beats],
                }
            ),
            "utf-8",
        )


class Index:
    """A history by transfer. Built once, when everything has happened."""

    def __init__(self, history: History) -> None:
        self.history = history

    @cached_property
    def lines(self) -> dict[str, list[Line]]:
        found: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self.history.lines:
            found[line.transfer_id].append(line)
        return found

    @cached_property
    def posts(self) -> dict[str, list[Post]]:
        """By idempotency key."""
        found: defaultdict[str, list[Post]] = defaultdict(list)
        for post in self.history.posts:
            found[post.key].append(post)
        return found

    @cached_property
    def posts_of_calls(self) -> dict[str, list[Post]]:
        found: defaultdict[str, list[Post]] = defaultdict(list)
        for post in self.history.posts:
            found[post.call_id].append(post)
        return found

    @cached_property
    def asks(self) -> dict[str, list[Ask]]:
        found: defaultdict[str, list[Ask]] = defaultdict(list)
        for ask in self.history.asks:
            found[ask.transfer_id].append(ask)
        return found

    @cached_property
    def calls(self) -> dict[str, list[TransferRecord]]:
        """The transfers of each call in the order of their hops."""
        found: defaultdict[str, list[TransferRecord]] = defaultdict(list)
        for record in self.history.records.values():
            found[record.call_id].append(record)
        return {call_id: sorted(records, key=lambda one: one.hop) for call_id, records in found.items()}

    def posts_of(self, record: TransferRecord) -> list[Post]:
        return self.posts.get(record.idempotency_key, []) if record.idempotency_key else []


def destination_of(record: TransferRecord) -> str:
    """Return the number that a transfer was asked to go to."""
    if not record.intent_json:
        return ""
    destination = json.loads(record.intent_json)["destination"]
    connect = destination if "endpoints" in destination else destination["pipeline"][0]
    return str(connect["endpoints"][0]["number"])
