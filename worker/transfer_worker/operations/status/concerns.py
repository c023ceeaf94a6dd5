"""What somebody should look at, now: of the last minute, each with what it is about, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final

from transfer_tasks.outcome import Reason
from transfer_worker.monitoring.history import find_beginning
from transfer_worker.monitoring.statistics import PLATFORM_ANSWERS, count_endings
from transfer_worker.operations.pauses import EVERYTHING, name_for_people
from transfer_worker.operations.status.concern import Concern, tell_since, tell_span
from transfer_worker.operations.status.workers import find_concerns_of_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from transfer_worker.monitoring.counts import Counts
    from transfer_worker.monitoring.double_posts import DoublePost
    from transfer_worker.monitoring.statistics import Status, Window
    from transfer_worker.operations.pauses import Pause

NAMED_DOUBLE_POSTS: Final = 3
"""How many are named on the screen; `--json` has all."""

FAILURE_SHARE: Final = 0.1
"""Of the endings, and of the platform's answers, of the last minute."""


def find_concerns(status: Status, pauses: tuple[Pause, ...]) -> Iterator[Concern]:
    """Yield what somebody should look at, what explains the most first."""
    yield from _concerns_of_redis(status)
    for pause in pauses:
        name = "--all" if pause.destination == EVERYTHING else pause.destination
        yield Concern(
            text=f"Paused by {pause.by}: {name_for_people(pause.destination)}: {pause.reason}",
            command=f"call-transfer resume {name}",
        )
    yield from find_concerns_of_workers(status)
    yield from _concerns_of_platform(status)
    yield from _concerns_of_limits(status)
    yield from _concerns_of_endings(status)
    present = status.present
    if present.unknown:
        yield Concern(
            text=f"{present.unknown} unknown, the oldest for {tell_span(present.oldest_unknown_seconds)}: "
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
    window = _recent(status)
    if window.limits_reached:
        parts = ", ".join(f"{refused} by {limit}" for limit, refused in sorted(window.limits_reached.items()))
        begun = _Beginning.of(status, _limits_reached)
        yield Concern(
            text=f"Refused beyond a limit on rate {_within(window)}: {parts}{begun}{_who_asks(window)}",
            command=f"call-transfer list --reason {Reason.LIMIT_REACHED} --since {begun.span}",
        )


def _who_asks(window: Window) -> str:
    """Return who has asked most, as an end of a sentence."""
    for who, asked in window.requesters.items():
        return f"; {who or 'somebody without a name'} asked for {asked} of {sum(window.requesters.values())}"
    return ""


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


def _concerns_of_platform(status: Status) -> Iterator[Concern]:
    window = _recent(status)
    if refused := window.reasons.get(Reason.UNAUTHORIZED, 0):
        begun = _Beginning.of(status, partial(_share_of_requests, meant={Reason.UNAUTHORIZED}))
        yield Concern(
            text=f"Piopiy refuses the workers' token: {refused} times {_within(window)}{begun}",
            command=f"call-transfer list --state rejected --reason unauthorized --since {begun.span}",
        )
    for answer, share in status.platform_shares.items():
        if answer not in {"ok", "denied"} and share > FAILURE_SHARE:
            meant = {reason for reason, kind in PLATFORM_ANSWERS.items() if kind == answer}
            begun = _Beginning.of(status, partial(_share_of_requests, meant=meant))
            yield Concern(
                text=f"The platform: {share:.0%} of the requests of the last minute "
                f"({status.platform_requests}) got {PLATFORM_WORDS[answer]}{begun}",
                command=f"call-transfer list --state failed --state unknown --since {begun.span}",
            )


def _concerns_of_audit(status: Status) -> Iterator[Concern]:
    audit, hour = status.present.audit, status.windows[-1]
    if audit.is_late:
        age = tell_span(audit.oldest_seconds)
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
    """Yield what is not submitted; where all of it goes to one destination, of that one."""
    window = _recent(status)
    ended, failed = window.ended_to.total(), window.failures.total()
    if failed <= FAILURE_SHARE * ended:
        return
    destination, to_destination = window.failed_to.most_common(1)[0]
    is_alone = failed - to_destination <= FAILURE_SHARE * (ended - window.ended_to[destination])
    if is_alone:
        ended, failed = window.ended_to[destination], to_destination
    reason, with_reason = window.reasons_to(destination if is_alone else "").most_common(1)[0]
    begun = _Beginning.of(status, partial(_failures_to, destination=destination if is_alone else ""))
    told = f"{failed} of {ended} {_within(window)} were not submitted: {with_reason} for {reason}"
    listing = f"--reason {reason} --since {begun.span}"
    if is_alone:
        told, listing = f"{destination}: {told}", f"--destination {destination} {listing}"
    else:
        told += f", {to_destination} to {destination}"
    yield Concern(text=f"{told}{begun}", command=f"call-transfer list {listing}")


def _recent(status: Status) -> Window:
    """Return the last minute; where nothing has ended in it, the last five."""
    minute, five_minutes, _ = status.windows
    return minute if minute.ended_to else five_minutes


def _within(window: Window) -> str:
    return "in the last minute" if window.minutes == 1 else f"in the last {window.minutes} min"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beginning:
    """When something began that lasts; prints as an end of a sentence.

    Attributes:
        span: What `--since` takes to list all of it.
    """

    at_ms: int
    span: str

    def __str__(self) -> str:
        return f", {tell_since(self.at_ms)}"

    @classmethod
    def of(cls, status: Status, judge: Callable[[Counts], tuple[int, int]]) -> _Beginning:
        at_ms = find_beginning(status.history, judge, threshold=FAILURE_SHARE)
        minutes = 1 + ceil((status.present.now_ms - at_ms) / 60_000)  # a minute to read, and to type
        return cls(at_ms=at_ms, span=f"{minutes}m")


def _share_of_requests(counts: Counts, *, meant: AbstractSet[str]) -> tuple[int, int]:
    """Return how many requests have ended, and how many of them for a reason that is meant."""
    requests = [(reason, ended) for (reason,), ended in counts.family("attempt", parts=1)]
    return sum(ended for _, ended in requests), sum(ended for reason, ended in requests if reason in meant)


def _limits_reached(counts: Counts) -> tuple[int, int]:
    """Return how many have ended, and how many of them because a limit was reached."""
    ended, _ = count_endings(counts)
    return ended.total(), sum(refused for _, refused in counts.family("limited", parts=1))


def _failures_to(counts: Counts, *, destination: str) -> tuple[int, int]:
    """Return how many have ended, to one destination or to all, and how many of them were failures."""
    ended, failures = count_endings(counts)
    failed = sum(of for (to, _), of in failures.items() if destination in {"", to})
    return ended[destination] if destination else ended.total(), failed
