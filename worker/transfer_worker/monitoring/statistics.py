"""How things stand, and how they went in the last minutes: a few round trips, whatever the ledger holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import Reason, State
from transfer_tasks.redis.diagnosis import diagnose
from transfer_worker.monitoring.connections import count_connections
from transfer_worker.monitoring.counts import Counts, ask_counts, build_counts
from transfer_worker.monitoring.damage import Damage
from transfer_worker.monitoring.history import SLICE_MS, History
from transfer_worker.monitoring.present import QUESTIONS, Present, ask_present, build_present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer_tasks.ledger.ledger import Ledger

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
        requesters: Requests by who has asked, masked; the most frequent first. Empty for nobody's.
        ended_to: Endings by destination, all states.
        failures: Endings that were not `submitted`, by destination and reason; without those that the session
            itself withdrew.
        reasons: Endings by reason, of those that were not `submitted`; the most frequent first.
        destinations: Endings that were not `submitted`, by destination; the most frequent first.
        audit_lines_lost: Audit lines that were dropped before anybody had written them.
        audit_set_aside: Entries of the audit outbox that could not be read.
        records_set_aside: Records that could not be read, and ended as `unknown`.
        limits_reached: Transfers that were refused because a limit on rate was reached, by which limit.
        connections: Final verdicts of whether anybody picked up, by destination and status.
        post_p50_ms: Half of the transfers were sent within this time of their acceptance.
        post_p99_ms: Likewise, 99 of 100.
    """

    minutes: int
    outcomes: dict[State, int]
    requesters: dict[str, int]
    ended_to: Counter[str]
    failures: Counter[tuple[str, str]]
    reasons: dict[str, int]
    destinations: dict[str, int]
    audit_lines_lost: int
    audit_set_aside: int
    records_set_aside: int
    limits_reached: dict[str, int]
    connections: dict[str, Counter[str]]
    post_p50_ms: float | None
    post_p99_ms: float | None

    @property
    def failed_to(self) -> Counter[str]:
        """Failures by destination."""
        sums: Counter[str] = Counter()
        for (destination, _), failed in self.failures.items():
            sums[destination] += failed
        return sums

    def reasons_to(self, destination: str) -> Counter[str]:
        """Return failures by reason, to one destination; to all, if it is empty."""
        sums: Counter[str] = Counter()
        for (to, reason), failed in self.failures.items():
            if destination in {"", to}:
                sums[reason] += failed
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStatus:
    """What Redis says of itself; None, or empty, where it does not (no INFO, no such field).

    Attributes:
        refuses_writes: Why it takes no writes, so that nothing is accepted or sent and no heartbeat counts;
            empty where it takes them.
    """

    version: str
    used_memory_bytes: int | None
    max_memory_bytes: int | None
    maxmemory_policy: str
    is_durable: bool | None
    uptime_seconds: int | None
    refuses_writes: str

    @classmethod
    def of(cls, info: Mapping[str, Any], *, refuses_writes: str = "") -> RedisStatus:
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
            refuses_writes=refuses_writes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One screen for whoever is on call.

    Attributes:
        platform_requests: How many requests of the last minute say something of the platform.
        platform_shares: What they say (values of `PLATFORM_ANSWERS`), as shares of 1.
        history: The last hour, by which what is wrong now has its beginning.
    """

    present: Present
    windows: tuple[Window, ...]
    platform_requests: int
    platform_shares: dict[str, float]
    history: History
    redis: RedisStatus


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
            ask_present(pipe, ledger)
            pipe.info()
            # Nothing, at no place: it makes no key, and is refused as every write is.
            pipe.setrange(ledger.keys.probe, 0, "")
            ask_counts(pipe, ledger, newest=newest, slices=count)
            replies = pipe.execute(raise_on_error=False)
        # These may be refused: not every user may ask for the one, and not every server takes the other.
        info, wrote = replies.pop(len(QUESTIONS)), replies.pop(len(QUESTIONS))
        damage = Damage()
        asked: list[Any] = damage.reply(ledger.keys.statistics, replies[len(QUESTIONS)], [[], []])
        _, slices = build_counts(asked, ledger.keys, damage, newest=newest)
        counted = {
            minutes: Counts.sum(slices[: minutes * 60_000 // SLICE_MS + 1]) for minutes in WINDOW_MINUTES
        }
        if counted[max(WINDOW_MINUTES)].is_damaged:
            damage.note(f"{ledger.keys.statistics}:*")
        present = build_present(ledger, replies, damage)
    except redis.RedisError as error:
        raise LedgerUnavailable(f"status: {diagnose(error)}") from error
    shares = _platform_shares(counted[1])
    requests = sum(shares.values())
    return Status(
        present=present,
        windows=tuple(_build_window(minutes, counts) for minutes, counts in counted.items()),
        platform_requests=requests,
        platform_shares={answer: ended / requests for answer, ended in shares.most_common()},
        history=History(newest=newest, slices=tuple(slices)),
        redis=RedisStatus.of(
            {} if isinstance(info, redis.RedisError) else info, refuses_writes=_tell_refusal(wrote)
        ),
    )


def _tell_refusal(wrote: object) -> str:
    """Return why no write is taken; a user who may not do the one that was tried shows nothing."""
    found = diagnose(wrote) if isinstance(wrote, redis.RedisError) else None
    return found.seen if found and found.stops_all_writes else ""


def count_endings(counts: Counts) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return endings by destination, and of those the failures by destination and reason.

    What the session itself has withdrawn is no failure.
    """
    ended_to: Counter[str] = Counter()
    failures: Counter[tuple[str, str]] = Counter()
    for (state, reason, destination), ended in counts.family("ended", parts=3):
        ended_to[destination] += ended
        if state != State.SUBMITTED and reason != Reason.CANCELLED_BY_SESSION:
            failures[destination, reason] += ended
    return ended_to, failures


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
    ended_to, failures = count_endings(counts)
    return Window(
        minutes=minutes,
        outcomes=outcomes,
        requesters=dict(
            Counter({who: asked for (who,), asked in counts.family("asked", parts=1)}).most_common()
        ),
        ended_to=ended_to,
        failures=failures,
        reasons=dict(reasons.most_common()),
        destinations=dict(destinations.most_common()),
        audit_lines_lost=counts["audit_lines_lost"],
        audit_set_aside=counts["audit_set_aside"],
        records_set_aside=counts["records_set_aside"],
        limits_reached={limit: refused for (limit,), refused in counts.family("limited", parts=1)},
        connections=count_connections(counts),
        post_p50_ms=counts.quantile_ms("post_ms", 0.5),
        post_p99_ms=counts.quantile_ms("post_ms", 0.99),
    )


def _platform_shares(counts: Counts) -> Counter[str]:
    shares: Counter[str] = Counter()
    for (reason,), ended in counts.family("attempt", parts=1):
        if reason in PLATFORM_ANSWERS:
            shares[PLATFORM_ANSWERS[Reason(reason)]] += ended
    return shares
