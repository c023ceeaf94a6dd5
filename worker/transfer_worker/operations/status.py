"""`call-transfer status`: how things stand as plain JSON values, and what of it somebody should look at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.outcome import Reason, State
from transfer_worker.monitoring.statistics import read_status
from transfer_worker.operations.describe import as_time
from transfer_worker.operations.pausing import EVERYTHING, name_for_people, read_pauses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.monitoring.double_posts import DoublePost
    from transfer_worker.monitoring.statistics import Status, Window
    from transfer_worker.operations.pausing import Pause

OLD_WAITING_SECONDS: Final = 3.0
"""Every request is claimed within milliseconds while workers run: a caller hears the difference."""

NAMED_DOUBLE_POSTS: Final = 3
"""How many are named on the screen; `--json` has all."""

FAILURE_SHARE: Final = 0.1
"""Of the endings of five minutes, and of the platform's answers of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that somebody should look at.

    Attributes:
        text: What it is.
        command: What tells more.
    """

    text: str
    command: str


def read_overview(ledger: Ledger) -> dict[str, Any]:
    """Return one screen's worth of plain JSON values, in four round trips.

    Raises:
        LedgerUnavailable: Redis did not answer in time.
    """
    return describe_overview(read_status(ledger), read_pauses(ledger))


def describe_overview(status: Status, pauses: tuple[Pause, ...]) -> dict[str, Any]:
    """Return the status as plain JSON values."""
    present = status.present
    return {
        "at": as_time(present.now_ms),
        "concerns": [asdict(concern) for concern in find_concerns(status, pauses)],
        "waiting": present.waiting,
        "oldest_waiting_seconds": round(present.oldest_waiting_seconds, 3),
        "in_flight": present.in_flight,
        "unknown": present.unknown,
        "oldest_unknown_seconds": round(present.oldest_unknown_seconds, 3),
        "audit": {
            "backlog_lines": present.audit.lines,
            "oldest_seconds": round(present.audit.oldest_seconds, 3),
            "is_late": present.audit.is_late,
            "set_aside": present.totals["audit_set_aside"],
            "lines_lost": present.totals["audit_lines_lost"],
        },
        "limits": present.limits,
        "records_set_aside": present.totals["records_set_aside"],
        "damaged_keys": list(present.damaged_keys),
        "possibly_moved_twice": present.totals["double_posts"],
        "unacknowledged_double_posts": [
            {
                "call_id": double.call_id,
                "transfers": list(double.transfers),
                "at": as_time(double.noted_at_ms),
            }
            for double in present.double_posts
        ],
        "windows": [
            {
                "minutes": window.minutes,
                "outcomes": {state.value: ended for state, ended in window.outcomes.items()},
                "reasons": window.reasons,
                "failing_destinations": window.destinations,
                "limits_reached": window.limits_reached,
                "post_p50_ms": _rounded(window.post_p50_ms),
                "post_p99_ms": _rounded(window.post_p99_ms),
            }
            for window in status.windows
        ],
        "platform": {
            "requests": status.platform_requests,
            "shares": {answer: round(share, 4) for answer, share in status.platform_shares.items()},
        },
        "paused": [
            {
                "destination": pause.destination,
                "paused_at": as_time(pause.paused_at_ms),
                "by": pause.by,
                "reason": pause.reason,
            }
            for pause in pauses
        ],
        "workers": [
            {
                "worker": worker.worker,
                # Heartbeats are writes: while Redis takes none, nobody knows.
                "is_alive": None if status.redis.refuses_writes else worker.is_alive,
                "heartbeat_age_seconds": round(worker.heartbeat_age_seconds, 3),
                **worker.about,
            }
            for worker in present.workers
        ],
        "redis": asdict(status.redis),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def find_concerns(status: Status, pauses: tuple[Pause, ...]) -> Iterator[Concern]:
    """Yield what somebody should look at, what explains the most first."""
    yield from _concerns_of_redis(status)
    for pause in pauses:
        name = "--all" if pause.destination == EVERYTHING else pause.destination
        yield Concern(
            text=f"Paused by {pause.by}: {name_for_people(pause.destination)}: {pause.reason}",
            command=f"call-transfer resume {name}",
        )
    yield from _concerns_of_workers(status)
    yield from _concerns_of_platform(status)
    yield from _concerns_of_limits(status)
    yield from _concerns_of_endings(status)
    present = status.present
    if present.unknown:
        yield Concern(
            text=f"{present.unknown} unknown, the oldest for {_span(present.oldest_unknown_seconds)}: "
            "they may have been carried out",
            command="call-transfer list --state unknown",
        )
    yield from _concerns_of_double_posts(present.double_posts)
    yield from _concerns_of_damage(status)
    yield from _concerns_of_audit(status)


def _concerns_of_double_posts(doubles: tuple[DoublePost, ...]) -> Iterator[Concern]:
    for double in doubles[:NAMED_DOUBLE_POSTS]:
        first, second = double.transfers
        by = f"two requests of transfer {first}" if first == second else f"transfers {first} and {second}"
        yield Concern(
            text=f"Call {double.call_id} was perhaps moved twice, by {by}",
            command=f"call-transfer show {double.call_id}",
        )
    if more := len(doubles[NAMED_DOUBLE_POSTS:]):
        yield Concern(text=f"And perhaps moved twice: {more} more", command="call-transfer status --json")


def _concerns_of_damage(status: Status) -> Iterator[Concern]:
    for key in status.present.damaged_keys:
        yield Concern(
            text=f"What stands in {key} can't be read; the figures are without it",
            command="call-transfer doctor",
        )
    if damaged := status.windows[-1].records_set_aside:
        yield Concern(
            text=f"{damaged} damaged records of the last hour were set aside; they ended as unknown",
            command="call-transfer list --reason record_damaged",
        )


def _concerns_of_limits(status: Status) -> Iterator[Concern]:
    window = status.windows[1]
    if window.limits_reached:
        parts = ", ".join(f"{refused} by {limit}" for limit, refused in sorted(window.limits_reached.items()))
        yield Concern(
            text=f"Refused beyond a limit on rate in {window.minutes} min: {parts}",
            command=f"call-transfer list --reason {Reason.LIMIT_REACHED}",
        )


def _concerns_of_redis(status: Status) -> Iterator[Concern]:
    facts = status.redis
    if facts.refuses_writes:
        yield Concern(
            text=f"No request is accepted or sent: {facts.refuses_writes}", command="call-transfer doctor"
        )
    if facts.maxmemory_policy not in {"noeviction", ""}:
        yield Concern(
            text=f"Redis may evict records ({facts.maxmemory_policy}): calls may be moved twice",
            command="call-transfer doctor",
        )
    if facts.is_durable is False:
        yield Concern(
            text="Redis is not durable: a restart forgets what was accepted", command="call-transfer doctor"
        )


def _concerns_of_workers(status: Status) -> Iterator[Concern]:
    present = status.present
    gone = [worker for worker in present.workers if not worker.is_alive]
    if status.redis.refuses_writes:
        pass  # heartbeats are writes: who lives can't be told
    elif len(gone) == len(present.workers):
        age = present.heartbeat_age_seconds
        since = "there was never one" if age is None else f"the last one {_span(age)} ago"
        yield Concern(text=f"No worker gives a sign of life ({since})", command="call-transfer doctor")
    elif gone:
        names = ", ".join(worker.worker for worker in gone)
        yield Concern(text=f"A worker is gone: {names}", command="call-transfer tail")
    if present.oldest_waiting_seconds > OLD_WAITING_SECONDS:
        yield Concern(
            text=f"{present.waiting} waiting, the oldest for {_span(present.oldest_waiting_seconds)}",
            command="call-transfer list --state waiting",
        )


def _concerns_of_platform(status: Status) -> Iterator[Concern]:
    refused = status.windows[1].reasons.get(Reason.UNAUTHORIZED, 0)
    if refused:
        yield Concern(
            text=f"Piopiy refuses the workers' token: {refused} times in 5 min",
            command="call-transfer list --state rejected --reason unauthorized",
        )
    for answer, share in status.platform_shares.items():
        if answer not in {"ok", "denied"} and share > FAILURE_SHARE:
            yield Concern(
                text=f"The platform: {share:.0%} of the requests of the last minute "
                f"({status.platform_requests}) got {PLATFORM_WORDS[answer]}",
                command="call-transfer list --state failed --state unknown --since 5m",
            )


def _concerns_of_audit(status: Status) -> Iterator[Concern]:
    audit, hour = status.present.audit, status.windows[-1]
    if audit.is_late:
        age = _span(audit.oldest_seconds)
        yield Concern(
            text=f"The audit log is behind: {audit.lines} lines, the oldest for {age}",
            command="call-transfer doctor",
        )
    if hour.audit_lines_lost:
        yield Concern(
            text=f"{hour.audit_lines_lost} audit lines were dropped unwritten in the last hour",
            command="call-transfer doctor",
        )
    if hour.audit_set_aside:
        yield Concern(
            text=f"{hour.audit_set_aside} audit lines of the last hour could not be read",
            command="call-transfer quarantine list",
        )


PLATFORM_WORDS: Final = {
    "ok": "accepted",
    "denied": "denied (4xx)",
    "429": "429 (too many)",
    "5xx": "5xx",
    "unreadable": "an answer that is not JSON",
    "refused": "no connection",
    "silent": "no answer",
}


def _concerns_of_endings(status: Status) -> Iterator[Concern]:
    window = status.windows[1]
    ended, failed = sum(window.outcomes.values()), _failed(window)
    if failed <= FAILURE_SHARE * ended:
        return
    reason, with_reason = next(iter(window.reasons.items()))
    destination, to_destination = next(iter(window.destinations.items()))
    yield Concern(
        text=f"{failed} of {ended} in {window.minutes} min were not submitted; "
        f"{with_reason} for {reason}, {to_destination} to {destination}",
        command=f"call-transfer list --reason {reason} --since {window.minutes}m",
    )


def _failed(window: Window) -> int:
    """Endings that were not `submitted`, but for those that the session itself withdrew."""
    withdrawn = window.reasons.get(Reason.CANCELLED_BY_SESSION, 0)
    return sum(window.outcomes.values()) - window.outcomes[State.SUBMITTED] - withdrawn


def _span(seconds: float) -> str:
    """Return a span for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
