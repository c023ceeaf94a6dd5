"""How things stand, as plain JSON values for one screen."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from transfer_tasks.connection import ConnectionStatus
from transfer_worker.monitoring.connections import SOURCES
from transfer_worker.monitoring.statistics import read_status
from transfer_worker.operations.describe import as_time
from transfer_worker.operations.pauses import read_pauses
from transfer_worker.operations.status.concerns import find_concerns

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.monitoring.statistics import Status
    from transfer_worker.operations.pauses import Pause

MOST_NAMED: Final = 10
"""How many requesters and destinations are named, those with the most requests."""


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
                "requesters": dict(islice(window.requesters.items(), MOST_NAMED)),
                "destinations": dict(window.ended_to.most_common(MOST_NAMED)),
                "reasons": window.reasons,
                "failing_destinations": window.destinations,
                "limits_reached": window.limits_reached,
                "connections": {
                    destination: {
                        "connected": counted[ConnectionStatus.CONNECTED],
                        "not_connected": counted[ConnectionStatus.NOT_CONNECTED],
                        "share_connected": round(counted[ConnectionStatus.CONNECTED] / counted.total(), 4),
                    }
                    for destination, counted in islice(window.connections.items(), MOST_NAMED)
                },
                "post_p50_ms": _rounded(window.post_p50_ms),
                "post_p99_ms": _rounded(window.post_p99_ms),
            }
            for window in status.windows
        ],
        "platform": {
            "requests": status.platform_requests,
            "shares": {answer: round(share, 4) for answer, share in status.platform_shares.items()},
        },
        "sources": {
            source.value: {
                "last_heard_at": as_time(heard.at_ms),
                "requests_since": heard.accepted_since,
            }
            if (heard := present.heard.get(source))
            else None
            for source in SOURCES
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
        "gone_workers": [
            {"worker": gone.worker, "last_heartbeat_at": as_time(gone.last_heartbeat_ms)}
            for gone in present.gone
        ],
        "redis": asdict(status.redis),
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
