"""What Prometheus is told of the present: what waits, what is paused, who works, what Redis has left."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, Final

import redis
from prometheus_client.core import GaugeMetricFamily

from transfer_worker.monitoring.differences import KINDS, find_differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from transfer_worker.monitoring.present import Present

_OF_WORKERS: Final = {
    "restarts": "How often a worker was restarted because it had ended unasked.",
    "up_seconds": "How long ago a worker was started.",
}


def present_gauges(present: Present) -> Iterator[Metric]:
    """Yield what is true now: of transfers, pauses, the audit log and workers."""
    for name, about, value in (
        ("waiting", "Transfers that no worker has claimed yet.", present.waiting),
        ("in_flight", "Transfers that a worker acts on.", present.in_flight),
        ("unknown", "Transfers that may have been carried out, and are not resolved.", present.unknown),
        ("oldest_waiting_seconds", "How long the oldest waiting one waits.", present.oldest_waiting_seconds),
        (
            "oldest_unknown_seconds",
            "How long ago the oldest unresolved one ended unknown.",
            present.oldest_unknown_seconds,
        ),
        (
            "unknown_recent",
            "Of transfer_unknown, those that ended one to ten minutes ago.",
            present.recent_unknown,
        ),
        ("audit_backlog_lines", "Audit lines that are in Redis and in no log yet.", present.audit.lines),
        (
            "audit_oldest_seconds",
            "How old the oldest audit line is that is in no log yet.",
            present.audit.oldest_seconds,
        ),
        (
            "double_posts_unacknowledged",
            "Of transfer_double_posts_total, those that nobody has acknowledged.",
            len(present.double_posts),
        ),
        (
            "damaged_keys",
            "Keys of ours in Redis that can't be read; the other figures are without them.",
            len(present.damaged_keys),
        ),
        ("workers", "Workers whose lease runs.", sum(worker.is_alive for worker in present.workers)),
        (
            "heartbeat_age_seconds",
            "Since the last sign of life of any worker; infinite where there was never one.",
            math.inf if present.heartbeat_age_seconds is None else present.heartbeat_age_seconds,
        ),
    ):
        yield GaugeMetricFamily(f"transfer_{name}", about, value=value)
    pauses = GaugeMetricFamily(
        "transfer_pause_seconds",
        "How long a destination is paused; * for all.",
        labels=("destination",),
    )
    for destination, seconds in present.pause_seconds.items():
        pauses.add_metric((destination,), seconds)
    yield pauses
    silent = GaugeMetricFamily(
        "transfer_source_silent_requests",
        "Requests that the platform has accepted since a source last told of a connection.",
        labels=("source",),
    )
    for source, heard in present.heard.items():
        silent.add_metric((source,), heard.accepted_since)
    yield silent
    yield from _worker_gauges(present)


def _worker_gauges(present: Present) -> Iterator[Metric]:
    ages = GaugeMetricFamily(
        "transfer_worker_heartbeat_age_seconds",
        "Since a worker's last sign of life.",
        labels=("worker", "host", "version"),
    )
    for worker in present.workers:
        about_it = worker.about
        ages.add_metric(
            (worker.worker, str(about_it.get("host", "")), str(about_it.get("version", ""))),
            worker.heartbeat_age_seconds,
        )
    yield ages
    unlike = GaugeMetricFamily(
        "transfer_worker_differs",
        "Whether a worker has another version, registry or setting than most of the workers.",
        labels=("worker", "what"),
    )
    alive = [worker for worker in present.workers if worker.is_alive]
    differing = {(worker, of.kind) for of in find_differences(present.workers) for worker in of.workers}
    for worker in alive:
        for kind in KINDS:
            unlike.add_metric((worker.worker, kind), (worker.worker, kind) in differing)
    yield unlike
    build = GaugeMetricFamily(
        "transfer_worker_build_info",
        "What a living worker is: its version, and digests of its registry and settings.",
        labels=("worker", "host", "version", "registry", "settings"),
    )
    told = {
        name: GaugeMetricFamily(f"transfer_worker_{name}", about, labels=("worker",))
        for name, about in _OF_WORKERS.items()
    }
    for worker in alive:
        about = worker.about
        build.add_metric((worker.worker, *_describe_build(about)), 1)
        for name, family in told.items():
            if isinstance(value := about.get(name), int):
                family.add_metric((worker.worker,), value)
    yield build
    yield from told.values()


def _describe_build(about: Mapping[str, Any]) -> tuple[str, ...]:
    said = tuple(str(about.get(name, "")) for name in ("host", "version", "registry"))
    settings = about.get("settings")
    text = json.dumps(settings, sort_keys=True) if settings else ""
    return (*said, hashlib.sha256(text.encode()).hexdigest()[:12] if text else "")


def memory_gauges(client: redis.Redis) -> Iterator[Metric]:
    """Yield what Redis uses and what it may use, as far as it says so: not everybody may ask."""
    try:
        info: Mapping[str, Any] = client.info("memory")
    except redis.RedisError:
        return
    # Without a limit of its own, the machine's memory is one.
    limit = info.get("maxmemory") or info.get("total_system_memory")
    for name, about, value in (
        ("memory_bytes", "Memory that Redis uses.", info.get("used_memory")),
        ("memory_limit_bytes", "Memory that Redis may use: its maxmemory, or the machine's.", limit),
    ):
        if value:
            yield GaugeMetricFamily(f"transfer_redis_{name}", about, value=value)
