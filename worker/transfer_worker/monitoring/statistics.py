"""How things stand, and how they went in the last minutes: a few round trips, whatever the ledger holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.ledger.recovery import LEASE_SECONDS
from transfer_worker.monitoring.audit_backlog import AuditBacklog, ask_audit_backlog, build_audit_backlog
from transfer_worker.monitoring.counts import Counts
from transfer_worker.monitoring.damage import Damage
from transfer_worker.monitoring.double_posts import DoublePost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transfer_tasks.ledger.ledger import Ledger

SLICE_MS: Final = 10_000
WINDOW_MINUTES: Final = (1, 5, 60)

PLATFORM_ANSWERS: Final[dict[Reason, str]] = {
    Reason.ACCEPTED_BY_PLATFORM: "ok",
    Reason.REFUSED_BY_PLATFORM: "denied",
    Reason.CALL_NOT_FOUND: "denied",
    Reason.UNAUTHORIZED: "denied",
    Reason.TRANSFER_IN_PROGRESS: "denied",
    Reason.IN_PROGRESS_AFTER_ATTEMPT: "denied",
    Reason.RATE_LIMITED: "429",
    Reason.PLATFORM_UNAVAILABLE: "5xx",
    Reason.SERVER_ERROR: "5xx",
    Reason.ANSWER_UNREADABLE: "unreadable",
    Reason.PLATFORM_UNREACHABLE: "refused",
    Reason.ANSWER_LOST: "silent",
}
"""What a request's end says of the platform: ``refused`` was a connection, ``denied`` an answer (4xx)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What happened in the last minutes, and up to ten seconds more: slices are looked at whole.

    Attributes:
        outcomes: Endings by state, all states.
        reasons: Endings by reason, of those that were not `submitted`; the most frequent first.
        destinations: Endings that were not `submitted`, by destination; the most frequent first.
        audit_lines_lost: Audit lines that were dropped before anybody had written them.
        audit_set_aside: Entries of the audit outbox that could not be read.
        records_set_aside: Records that could not be read, and ended as `unknown`.
        post_p50_ms: Half of the transfers were sent within this time of their acceptance.
        post_p99_ms: Likewise, 99 of 100.
    """

    minutes: int
    outcomes: dict[State, int]
    reasons: dict[str, int]
    destinations: dict[str, int]
    audit_lines_lost: int
    audit_set_aside: int
    records_set_aside: int
    post_p50_ms: float | None
    post_p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker by its last heartbeat. `is_alive` while its lease runs; what it said is empty afterwards."""

    worker: str
    is_alive: bool
    heartbeat_age_seconds: float
    about: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStatus:
    """What Redis says of itself; None, or empty, where it does not (no INFO, no such field)."""

    version: str
    used_memory_bytes: int | None
    max_memory_bytes: int | None
    maxmemory_policy: str
    is_durable: bool | None
    uptime_seconds: int | None

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> RedisStatus:
        """Read the answer to INFO."""

        def number(name: str) -> int | None:
            return int(info[name]) if name in info else None

        aof = number("aof_enabled")
        return cls(
            version=str(info.get("redis_version", "")),
            used_memory_bytes=number("used_memory"),
            max_memory_bytes=number("maxmemory"),
            maxmemory_policy=str(info.get("maxmemory_policy", "")),
            is_durable=None if aof is None else bool(aof),
            uptime_seconds=number("uptime_in_seconds"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """How things stand now.

    Attributes:
        oldest_waiting_seconds: How long the oldest one has waited; 0 where none waits.
        oldest_unknown_seconds: How long ago the oldest unresolved unknown ended; 0 where there is none.
        heartbeat_age_seconds: Since the last sign of life of any worker; None where there was never one.
        double_posts: What may have moved a call twice and nobody has acknowledged, the newest first.
        totals: Everything that was counted since the beginning.
        damaged_keys: What stands there and can't be read; the figures above are without it.
    """

    now_ms: int
    waiting: int
    oldest_waiting_seconds: float
    in_flight: int
    unknown: int
    oldest_unknown_seconds: float
    workers: tuple[WorkerStatus, ...]
    heartbeat_age_seconds: float | None
    audit: AuditBacklog
    double_posts: tuple[DoublePost, ...]
    totals: Counts
    damaged_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One screen for whoever is on call.

    Attributes:
        platform_requests: How many requests of the last minute say something of the platform.
        platform_shares: What they say (values of `PLATFORM_ANSWERS`), as shares of 1.
    """

    present: Present
    windows: tuple[Window, ...]
    platform_requests: int
    platform_shares: dict[str, float]
    redis: RedisStatus


def read_present(ledger: Ledger) -> Present:
    """Return how things stand now, in two round trips.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        with ledger.client.pipeline(transaction=False) as pipe:
            _ask_present(pipe, ledger)
            replies = pipe.execute(raise_on_error=False)
        return _build_present(ledger, _name_replies(replies), Damage())
    except redis.RedisError as error:
        raise LedgerUnavailable(f"status: {diagnose(error)}") from error


def read_status(ledger: Ledger) -> Status:
    """Return everything for one screen, in three round trips.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        seconds, _ = ledger.client.time()
        newest = seconds * 1000 // SLICE_MS
        count = max(WINDOW_MINUTES) * 60_000 // SLICE_MS + 1
        with ledger.client.pipeline(transaction=False) as pipe:
            _ask_present(pipe, ledger)
            pipe.info()
            for number in range(newest, newest - count, -1):
                pipe.hgetall(ledger.keys.statistics_slice(number))
            replies = pipe.execute(raise_on_error=False)
        info = replies.pop(len(_QUESTIONS))  # the one thing that may be refused: not every user may ask it
        damage = Damage()
        slices: list[dict[str, str]] = [
            damage.reply(ledger.keys.statistics_slice(newest - at), reply, {})
            for at, reply in enumerate(replies[len(_QUESTIONS) :])
        ]
        if any(Counts.of([fields]).is_damaged for fields in slices):
            damage.note(f"{ledger.keys.statistics}:*")
        present = _build_present(ledger, _name_replies(replies), damage)
    except redis.RedisError as error:
        raise LedgerUnavailable(f"status: {diagnose(error)}") from error
    shares = _platform_shares(_slices_of(slices, 1))
    requests = sum(shares.values())
    return Status(
        present=present,
        windows=tuple(_build_window(minutes, _slices_of(slices, minutes)) for minutes in WINDOW_MINUTES),
        platform_requests=requests,
        platform_shares={answer: ended / requests for answer, ended in shares.most_common()},
        redis=RedisStatus.of({} if isinstance(info, redis.RedisError) else info),
    )


_QUESTIONS: Final[dict[str, Callable[[Any, Ledger], object]]] = {
    "clock": lambda pipe, _: pipe.time(),
    "audit": ask_audit_backlog,
    "waiting": lambda pipe, of: pipe.zcard(of.keys.waiting),
    "first_waiting": lambda pipe, of: pipe.zrange(of.keys.waiting, 0, 0, withscores=True),
    "unknown": lambda pipe, of: pipe.zcard(of.keys.unknown),
    "first_unknown": lambda pipe, of: pipe.zrange(of.keys.unknown, 0, 0, withscores=True),
    "in_flight": lambda pipe, of: pipe.zcard(of.keys.in_flight),
    "heartbeats": lambda pipe, of: pipe.zrange(of.keys.workers, 0, -1, withscores=True),
    "double_posts": lambda pipe, of: pipe.lrange(of.keys.double_posts, 0, -1),
    "statistics": lambda pipe, of: pipe.hgetall(of.keys.statistics),
}
"""What is asked of Redis about the present; each reply is found by the name of its question."""


def _ask_present(pipe: Any, ledger: Ledger) -> None:
    for ask in _QUESTIONS.values():
        ask(pipe, ledger)


def _name_replies(replies: list[Any]) -> dict[str, Any]:
    return dict(zip(_QUESTIONS, replies, strict=False))  # others' questions may follow


def _build_present(ledger: Ledger, replies: dict[str, Any], damage: Damage) -> Present:
    keys = ledger.keys
    for names, key, otherwise in (
        (("clock",), "TIME", None),
        (("audit",), keys.audit, [0, "0"]),
        (("waiting", "first_waiting"), keys.waiting, []),
        (("unknown", "first_unknown"), keys.unknown, []),
        (("in_flight",), keys.in_flight, []),
        (("heartbeats",), keys.workers, []),
        (("double_posts",), keys.double_posts, []),
        (("statistics",), keys.statistics, {}),
    ):
        for name in names:
            replies[name] = damage.reply(key, replies[name], otherwise)
    seconds, microseconds = replies["clock"]
    first_waiting, first_unknown = replies["first_waiting"], replies["first_unknown"]
    now_ms = seconds * 1000 + microseconds // 1000
    totals = Counts.of([replies["statistics"]])
    if totals.is_damaged:
        damage.note(keys.statistics)
    doubles = list(map(DoublePost.of, replies["double_posts"]))
    if None in doubles:
        damage.note(keys.double_posts)
    workers = _read_workers(ledger, replies["heartbeats"], now_ms, damage)
    last_heartbeat_ms = totals.pop("last_heartbeat_ms", None)
    return Present(
        now_ms=now_ms,
        waiting=replies["waiting"] or 0,
        oldest_waiting_seconds=_age_seconds(now_ms, first_waiting[0][1]) if first_waiting else 0.0,
        in_flight=replies["in_flight"] or 0,
        unknown=replies["unknown"] or 0,
        oldest_unknown_seconds=_age_seconds(now_ms, first_unknown[0][1]) if first_unknown else 0.0,
        workers=workers,
        heartbeat_age_seconds=None if last_heartbeat_ms is None else _age_seconds(now_ms, last_heartbeat_ms),
        audit=build_audit_backlog(replies["audit"], now_ms),
        double_posts=tuple(filter(None, doubles)),
        totals=totals,
        damaged_keys=damage.keys,
    )


def _read_workers(
    ledger: Ledger, heartbeats: list[tuple[str, float]], now_ms: int, damage: Damage
) -> tuple[WorkerStatus, ...]:
    # One that has stopped gracefully stays with the score 0 until the next sweep.
    names = {worker: heartbeat_ms for worker, heartbeat_ms in heartbeats if heartbeat_ms}
    if not names:
        return ()
    abouts = cast("list[str | None]", ledger.client.mget([ledger.keys.worker(name) for name in names]))
    return tuple(
        WorkerStatus(
            worker=name,
            is_alive=about is not None and _age_seconds(now_ms, heartbeat_ms) <= LEASE_SECONDS,
            heartbeat_age_seconds=_age_seconds(now_ms, heartbeat_ms),
            about=damage.json_object(ledger.keys.worker(name), about) if about else {},
        )
        for (name, heartbeat_ms), about in zip(names.items(), abouts, strict=True)
    )


def _slices_of(slices: list[dict[str, str]], minutes: int) -> Counts:
    return Counts.of(slices[: minutes * 60_000 // SLICE_MS + 1])


def _build_window(minutes: int, counts: Counts) -> Window:
    outcomes = {state: 0 for state in State if not state.is_open}
    reasons: Counter[str] = Counter()
    destinations: Counter[str] = Counter()
    for (state, reason, destination), ended in counts.family("ended", parts=3):
        if state not in outcomes:
            continue
        outcomes[State(state)] += ended
        if state != State.SUBMITTED:
            reasons[reason] += ended
            destinations[destination] += ended
    return Window(
        minutes=minutes,
        outcomes=outcomes,
        reasons=dict(reasons.most_common()),
        destinations=dict(destinations.most_common()),
        audit_lines_lost=counts["audit_lines_lost"],
        audit_set_aside=counts["audit_set_aside"],
        records_set_aside=counts["records_set_aside"],
        post_p50_ms=counts.quantile_ms("post_ms", 0.5),
        post_p99_ms=counts.quantile_ms("post_ms", 0.99),
    )


def _platform_shares(counts: Counts) -> Counter[str]:
    shares: Counter[str] = Counter()
    for (reason,), ended in counts.family("attempt", parts=1):
        if reason in PLATFORM_ANSWERS:
            shares[PLATFORM_ANSWERS[Reason(reason)]] += ended
    return shares


def _age_seconds(now_ms: int, since_ms: float) -> float:
    age = max(0.0, (now_ms - since_ms) / 1000)
    return age if age < inf else 0.0  # a score may be anything
