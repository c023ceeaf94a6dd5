"""How things stand now: two round trips, whatever the ledger holds."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.keys import IN_FLIGHT, WAITING
from transfer_tasks.ledger.texts import read_object
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.ledger.recovery import LEASE_SECONDS
from transfer_worker.monitoring.audit_backlog import AuditBacklog, ask_audit_backlog, build_audit_backlog
from transfer_worker.monitoring.connections import Heard, read_heard
from transfer_worker.monitoring.counts import Counts, ask_counts, build_counts
from transfer_worker.monitoring.damage import Damage, read_count
from transfer_worker.monitoring.double_posts import DoublePost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transfer_tasks.ledger.keys import Keys
    from transfer_tasks.ledger.ledger import Ledger


RECENT_SECONDS: Final = (60, 600)
"""Sessions often settle an unknown within the first; after the second, no caller is on the line any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker by its last heartbeat. `is_alive` while its lease runs; what it said is empty afterwards."""

    worker: str
    is_alive: bool
    heartbeat_age_seconds: float
    about: dict[str, Any]


class GoneWorker(NamedTuple):
    """A worker that is gone, and when it last gave a sign of life."""

    worker: str
    last_heartbeat_ms: int

    @property
    def node(self) -> str:
        """What its successor is called, too."""
        return self.worker.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """How things stand now.

    Attributes:
        oldest_waiting_seconds: How long the oldest one has waited; 0 where none waits.
        oldest_unknown_seconds: How long ago the oldest unresolved unknown ended; 0 where there is none.
        recent_unknown: How many unresolved ones ended one to ten minutes ago, of the newest hundred.
        pause_seconds: How long each destination has been paused; `*` for all of them.
        gone: Workers of the last hour that have not stopped gracefully and give no sign of life any more.
        heartbeat_age_seconds: Since the last sign of life of any worker; None where there was never one.
        double_posts: What may have moved a call twice and nobody has acknowledged, the newest first.
        limits: The limits on rate that workers have put in force, as scripts/frame/limits.lua reads them. A
            call has one also where none is.
        heard: When each of the platform's sources last told of a connection; without those never heard.
        totals: Everything that was counted since the beginning.
        damaged_keys: What stands there and can't be read; the figures above are without it.
    """

    now_ms: int
    waiting: int
    oldest_waiting_seconds: float
    in_flight: int
    unknown: int
    oldest_unknown_seconds: float
    recent_unknown: int
    pause_seconds: dict[str, float]
    workers: tuple[WorkerStatus, ...]
    gone: tuple[GoneWorker, ...]
    heartbeat_age_seconds: float | None
    audit: AuditBacklog
    double_posts: tuple[DoublePost, ...]
    limits: dict[str, str]
    heard: dict[str, Heard]
    totals: Counts
    damaged_keys: tuple[str, ...]


class _Question(NamedTuple):
    """What is asked of Redis, of which key, and what counts where that key holds something else."""

    ask: Callable[[Any, Ledger], object]
    key: Callable[[Keys], str]
    otherwise: Any


QUESTIONS: Final[dict[str, _Question]] = {
    "clock": _Question(lambda pipe, _: pipe.time(), lambda _: "", None),
    "audit": _Question(ask_audit_backlog, lambda keys: keys.audit, [0, "0"]),
    "waiting": _Question(
        lambda pipe, of: pipe.zcount(of.keys.open_ids, *WAITING), lambda keys: keys.open_ids, 0
    ),
    "first_waiting": _Question(
        lambda pipe, of: pipe.zrangebyscore(of.keys.open_ids, *WAITING, start=0, num=1, withscores=True),
        lambda keys: keys.open_ids,
        [],
    ),
    "unknown": _Question(lambda pipe, of: pipe.zcard(of.keys.unknown), lambda keys: keys.unknown, 0),
    "first_unknown": _Question(
        lambda pipe, of: pipe.zrange(of.keys.unknown, 0, 0, withscores=True), lambda keys: keys.unknown, []
    ),
    "last_unknown": _Question(
        lambda pipe, of: pipe.zrange(of.keys.unknown, -100, -1, withscores=True),
        lambda keys: keys.unknown,
        [],
    ),
    "paused": _Question(lambda pipe, of: pipe.hgetall(of.keys.paused), lambda keys: keys.paused, {}),
    "in_flight": _Question(
        lambda pipe, of: pipe.zcount(of.keys.open_ids, *IN_FLIGHT), lambda keys: keys.open_ids, 0
    ),
    "heartbeats": _Question(
        lambda pipe, of: pipe.zrange(of.keys.workers, 0, -1, withscores=True), lambda keys: keys.workers, []
    ),
    "gone": _Question(
        lambda pipe, of: pipe.zrange(of.keys.gone, 0, -1, withscores=True), lambda keys: keys.gone, []
    ),
    "double_posts": _Question(
        lambda pipe, of: pipe.lrange(of.keys.double_posts, 0, -1), lambda keys: keys.double_posts, []
    ),
    "heard": _Question(lambda pipe, of: pipe.hgetall(of.keys.heard), lambda keys: keys.heard, {}),
    "limits": _Question(lambda pipe, of: pipe.hgetall(of.keys.limits), lambda keys: keys.limits, {}),
    "audit_heads": _Question(
        lambda pipe, of: pipe.hlen(of.keys.audit_heads), lambda keys: keys.audit_heads, 0
    ),
    "statistics": _Question(ask_counts, lambda keys: keys.statistics, [[], []]),
}
"""What is asked of Redis about the present; each reply is found by the name of its question."""


def read_present(ledger: Ledger) -> Present:
    """Return how things stand now, in two round trips.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    try:
        with ledger.client.pipeline(transaction=False) as pipe:
            ask_present(pipe, ledger)
            replies = pipe.execute(raise_on_error=False)
        return build_present(ledger, replies, Damage())
    except redis.RedisError as error:
        raise LedgerUnavailable(f"status: {diagnose(error)}") from error


def ask_present(pipe: Any, ledger: Ledger) -> None:
    """Put all questions into a pipeline."""
    for question in QUESTIONS.values():
        question.ask(pipe, ledger)


def build_present(ledger: Ledger, answers: Sequence[Any], damage: Damage) -> Present:
    """Return what Redis's replies to `ask_present` say; others' may follow them."""
    keys = ledger.keys
    replies = {
        name: damage.reply(question.key(keys), reply, question.otherwise)
        for (name, question), reply in zip(QUESTIONS.items(), answers, strict=False)
    }
    seconds, microseconds = replies["clock"]
    first_waiting, first_unknown = replies["first_waiting"], replies["first_unknown"]
    now_ms = seconds * 1000 + microseconds // 1000
    totals, _ = build_counts(replies["statistics"], keys, damage)
    if totals.is_damaged:
        damage.note(keys.statistics)
    doubles = list(map(DoublePost.of, replies["double_posts"]))
    if None in doubles:
        damage.note(keys.double_posts)
    if limits := replies["limits"].values():
        from transfer_tasks.registry.limits import is_limit  # and with it all that an intent may be

        if not all(map(is_limit, limits)):
            damage.note(keys.limits)
    workers = _read_workers(ledger, replies["heartbeats"], now_ms, damage)
    last_heartbeat_ms = totals.pop("last_heartbeat_ms", None)
    return Present(
        now_ms=now_ms,
        waiting=replies["waiting"],
        oldest_waiting_seconds=_age_seconds(now_ms, first_waiting[0][1]) if first_waiting else 0.0,
        in_flight=replies["in_flight"],
        unknown=replies["unknown"],
        oldest_unknown_seconds=_age_seconds(now_ms, first_unknown[0][1]) if first_unknown else 0.0,
        recent_unknown=sum(
            RECENT_SECONDS[0] <= _age_seconds(now_ms, ended_ms) < RECENT_SECONDS[1]
            for _, ended_ms in replies["last_unknown"]
        ),
        pause_seconds={
            destination: _age_seconds(now_ms, _read_pause_ms(text))
            for destination, text in replies["paused"].items()
        },
        workers=workers,
        gone=tuple(GoneWorker(name, int(last_ms)) for name, last_ms in replies["gone"]),
        heartbeat_age_seconds=None if last_heartbeat_ms is None else _age_seconds(now_ms, last_heartbeat_ms),
        audit=build_audit_backlog(replies["audit"], now_ms),
        double_posts=tuple(filter(None, doubles)),
        limits=replies["limits"],
        heard=read_heard(keys.heard, replies["heard"], totals, damage),
        totals=totals,
        damaged_keys=damage.keys,
    )


def _read_pause_ms(text: str) -> int:
    """Return when somebody has paused it, by what may be damaged; then it was long ago."""
    return read_count(str((read_object(text) or {}).get("at_ms"))) or 0


def _read_workers(
    ledger: Ledger, heartbeats: list[tuple[str, float]], now_ms: int, damage: Damage
) -> tuple[WorkerStatus, ...]:
    # One that has stopped gracefully stays with the score 0 until the next sweep.
    # By name: in the order of heartbeats, a watched screen's lines would change places.
    names = {worker: heartbeat_ms for worker, heartbeat_ms in sorted(heartbeats) if heartbeat_ms}
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


def _age_seconds(now_ms: int, since_ms: float) -> float:
    age = max(0.0, (now_ms - since_ms) / 1000)
    return age if age < inf else 0.0  # a score may be anything
