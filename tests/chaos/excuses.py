"""When an `unknown` was honest: the answer was really lost, and we know how.

A worker asked to stop (SIGTERM) is not an excuse, and a cut that lets it connect again at once is none
either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transfer_tasks.outcome import Reason

if TYPE_CHECKING:
    from chaos.history import Fault, History, Line, Post

OPEN_BEHAVIOURS: Final = frozenset(
    {
        "proxy",
        "silence",
        "reset",
        "close",
        "drip",
        "cut",
        "html",
        "empty",
        "truncated",
        "array",
        "redirect",
        "408",
    }
)
NEAR_MS: Final = 300.0
"""How far apart two observers may put the same moment."""

LEASE_MS: Final = 2000.0
BEAT_MS: Final = 500.0

KILLS: Final = frozenset({"kill", "kill_child", "kill_supervisor", "audit_full"})
_CUTS: Final = frozenset(
    {"cut", "cut_at_answer", "half_open", "refuse", "blackhole", "hold", "lose_answers", "redis_kill"}
)
_AWAY: Final = frozenset(
    {"pause_long", "blackhole", "hold", "lose_answers", "refuse", "delay", "redis_kill", "redis_pause"}
)


def is_open_answer(behaviour: str) -> bool:
    """Say whether an answer of the sandbox leaves open what the platform did."""
    name = behaviour.partition(":")[0].removesuffix("-not-done")
    return name in OPEN_BEHAVIOURS or (name.startswith("5") and name != "503")


def find_excuse(history: History, finished: Line, begun_ms: float, posts: list[Post]) -> str | None:
    """Return what made a transfer end `unknown`; None if nothing we know of did.

    Args:
        history: What happened.
        finished: The audit line that says `unknown`.
        begun_ms: When its last attempt began.
        posts: What reached the sandbox under its key.
    """
    reason = finished.fields.get("reason")
    if reason == Reason.RECORD_MISSING:
        return None
    last = [post for post in posts if begun_ms - NEAR_MS <= post.at_ms <= finished.at_ms + NEAR_MS]
    is_by_recovery = finished.fields.get("source") == "recovery"
    if not is_by_recovery:
        if last and is_open_answer(last[-1].behaviour):
            return f"the platform: {last[-1].behaviour}"
        if last and last[-1].is_disturbed:
            return "the proxy: bytes that did not belong to the answer"
        if last and last[-1].status == 409 and reason == Reason.IN_PROGRESS_AFTER_ATTEMPT:
            return "the platform: 409 after a request that was sent"
        if reason != Reason.ANSWER_LOST:
            return None
    slot = history.slot_of(finished.worker)
    for fault in history.faults_between(begun_ms - LEASE_MS - BEAT_MS, finished.at_ms):
        if _explains(fault, slot, begun_ms, is_by_recovery=is_by_recovery):
            return f"{fault.kind} of {fault.target}"
    return None


def _explains(fault: Fault, slot: str, begun_ms: float, *, is_by_recovery: bool) -> bool:
    if fault.target == "machine":
        return True
    if fault.target == "platform":
        return not is_by_recovery and fault.ended_ms >= begun_ms - NEAR_MS
    if fault.target not in {slot, "redis"}:
        return False
    if fault.kind in KILLS:
        return is_by_recovery
    # While it lasts, no heartbeat gets through; the lease is over two seconds after the last one.
    return fault.kind in _AWAY and fault.ended_ms >= begun_ms - LEASE_MS


def find_loss_excuse(history: History, at_ms: float, within_ms: float, used: list[Fault]) -> Fault | None:
    """Return what may have lost a bare message of Celery's on its way from the queue into a worker.

    kombu 5.7 takes a message from the list first and writes it down as unacknowledged second; whoever dies in
    between takes it along. Transfers with a record are redelivered; these have none yet. A worker takes one
    at a time, so each fault excuses one: those in `used` have done so already.
    """
    for fault in history.faults_between(at_ms - NEAR_MS, at_ms + within_ms):
        may_lose = fault.kind in KILLS | _CUTS and not fault.target.startswith("p")
        if may_lose and not any(fault is one for one in used):
            return fault
    return None
