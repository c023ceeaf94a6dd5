"""What Prometheus is told: the ledger's own counts, read when it asks.

So a restart of this process loses nothing, several of them say the same, and no transfer waits for a metric.
Where the ledger can't be read, `transfer_ledger_up` is 0 and there is nothing else.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Self

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from transfer_tasks.connection import ReportSource, ReportVerdict
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.outcome import GUIDE, Reason
from transfer_tasks.registry.limits import LIMIT_KINDS
from transfer_worker.monitoring.connections import FINALS, count_connections
from transfer_worker.monitoring.counts import BUCKETS_MS
from transfer_worker.monitoring.damage import read_count
from transfer_worker.monitoring.gauges import memory_gauges, present_gauges
from transfer_worker.monitoring.present import read_present
from transfer_worker.monitoring.statistics import PLATFORM_ANSWERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.monitoring.counts import Counts

POSTS_BUCKETS: Final = (0, 1, 2, 3, 5, 10, 20)
"""Settings allow up to 20 requests a transfer."""

# A counter that appears with its first event has no zero to rise from: increase() would miss that event.
_OUTCOMES: Final = tuple(
    (guide.state.value, reason.value)
    for reason, guide in GUIDE.items()
    if reason is not Reason.NOT_TRANSFERRED
)
_RESOLUTIONS: Final = tuple(
    (GUIDE[reason].state.value, reason.value)
    for reason in (Reason.TRANSFER_CONFIRMED, Reason.NOT_TRANSFERRED, Reason.ACCEPTED_BY_PLATFORM)
)
_ATTEMPTS: Final = (*PLATFORM_ANSWERS, Reason.NOT_SENT, Reason.WORKER_DIED)
_VERDICTS: Final = ("repeat", "in_progress", "conflict", "overtaken")
_REPORTS: Final = tuple(
    (source.value, verdict.value)
    for source in ReportSource
    for verdict in ReportVerdict
    if verdict is not ReportVerdict.REFUSED
)
_TAKEOVERS: Final = ("worker_died", "its_worker_has_gone", "message_lost")


class LedgerCollector(Collector):
    """Reads the ledger once for each scrape."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand, so that registering needs no Redis."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        up = "Whether the ledger in Redis could be read."
        try:
            present = read_present(self._ledger)
        except LedgerUnavailable:
            yield GaugeMetricFamily("transfer_ledger_up", up, value=0)
            return
        yield GaugeMetricFamily("transfer_ledger_up", up, value=1)
        yield from present_gauges(present)
        yield from memory_gauges(self._ledger.client)
        yield from _counters(present.totals)
        yield from _histograms(present.totals)


def _counters(totals: Counts) -> Iterator[Metric]:
    outcomes: dict[tuple[str, ...], int] = dict.fromkeys(_OUTCOMES, 0)
    by_destination: dict[tuple[str, ...], int] = {}
    for (state, reason, destination), value in totals.family("ended", parts=3):
        outcomes[state, reason] = outcomes.get((state, reason), 0) + value
        by_destination[destination, state, reason] = value
    yield _counter(
        "outcomes", "Transfers by how they first ended; all of them.", ("state", "reason"), outcomes
    )
    yield _counter(
        "destination_outcomes",
        "Transfers by destination and how they first ended.",
        ("destination", "state", "reason"),
        by_destination,
    )
    yield from _connections(totals)
    for name, about, labels, family, known in (
        (
            "resolved",
            "Unknown transfers that got their truth.",
            ("state", "reason"),
            "resolved",
            _RESOLUTIONS,
        ),
        (
            "attempts",
            "HTTP requests by what became of them.",
            ("class",),
            "attempt",
            [(reason.value,) for reason in _ATTEMPTS],
        ),
        (
            "repeats",
            "Requests that another transfer of the call stood in the way of, by verdict.",
            ("verdict",),
            "stood_back",
            [(verdict,) for verdict in _VERDICTS],
        ),
        (
            "limits_reached",
            "Transfers that were refused because a limit on rate was reached, by which limit.",
            ("limit",),
            "limited",
            [(limit,) for limit in LIMIT_KINDS],
        ),
        (
            "reports",
            "Reports of whether anybody picked up, by whose word and what became of them.",
            ("source", "verdict"),
            "report",
            _REPORTS,
        ),
        (
            "polls",
            "Questions to the platform of how a request goes, by what came of them.",
            ("seen",),
            "poll",
            [("told",), ("given_up",)],
        ),
        (
            "takeovers",
            "Transfers whose message recovery redelivered, by why.",
            ("why",),
            "requeued",
            [(why,) for why in _TAKEOVERS],
        ),
        (
            "given_up",
            "Transfers ended as unknown by recovery.",
            ("reason",),
            "given_up",
            [(Reason.WORKER_DIED.value,), (Reason.ANSWER_LOST.value,)],
        ),
    ):
        counted = {tuple(parts): value for parts, value in totals.family(family, parts=len(labels))}
        yield _counter(name, about, labels, dict.fromkeys(known, 0) | counted)
    for name, about in (
        ("accepted", "Transfers accepted."),
        ("quarantined", "Queue messages that could not be served."),
        ("records_set_aside", "Records that could not be read, and ended as unknown."),
        ("audit_set_aside", "Entries of the audit outbox that could not be read."),
        ("audit_lines_lost", "Audit lines that were dropped before anybody had written them."),
        ("double_posts", "Requests that may have moved a call which another one may have moved, too."),
    ):
        yield CounterMetricFamily(f"transfer_{name}", about, value=totals[name])


def _connections(totals: Counts) -> Iterator[Metric]:
    verdicts: dict[tuple[str, ...], int] = dict.fromkeys(FINALS, 0)
    for (status, reason, _), value in totals.family("connection", parts=3):
        verdicts[status, reason] = verdicts.get((status, reason), 0) + value
    yield _counter(
        "connections",
        "Transfers by whether anybody picked up, as was reported.",
        ("status", "reason"),
        verdicts,
    )
    by_destination: dict[tuple[str, ...], int] = {
        (destination, status): value
        for destination, counted in count_connections(totals).items()
        for status, value in counted.items()
    }
    yield _counter(
        "destination_connections",
        "Transfers by destination and whether anybody picked up.",
        ("destination", "status"),
        by_destination,
    )


def _counter(
    name: str, about: str, labels: Sequence[str], counted: Mapping[tuple[str, ...], int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"transfer_{name}", about, labels=labels)
    for key, value in counted.items():
        family.add_metric(key, value)
    return family


def _histograms(totals: Counts) -> Iterator[Metric]:
    bounds = [str(bound / 1000) for bound in BUCKETS_MS] + ["+Inf"]
    for name, about, field in (
        ("submit_to_post_seconds", "From acceptance to the first HTTP request.", "post_ms"),
        ("submit_to_outcome_seconds", "From acceptance to the first ending.", "outcome_ms"),
    ):
        held = accumulate(totals.histogram(field))
        yield HistogramMetricFamily(
            f"transfer_{name}",
            about,
            buckets=list(zip(bounds, held, strict=True)),
            sum_value=totals[f"{field}_sum"] / 1000,
        )
    posts = {
        int(number): value
        for (number,), value in totals.family("posts", parts=1)
        if read_count(number) is not None
    }
    yield HistogramMetricFamily(
        "transfer_posts_per_transfer",
        "HTTP requests that a transfer took.",
        buckets=[
            (
                "+Inf" if bound == math.inf else str(float(bound)),
                sum(v for n, v in posts.items() if n <= bound),
            )
            for bound in (*POSTS_BUCKETS, math.inf)
        ],
        sum_value=sum(number * value for number, value in posts.items()),
    )


class MetricsServer:
    """Serves the metrics over HTTP, from a thread, while it is entered.

    Args:
        ledger: Where to read, with a timeout shorter than Prometheus's own.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.

    Raises:
        OSError: The address can't be listened on.
    """

    def __init__(self, ledger: Ledger, *, host: str = "127.0.0.1", port: int = 9808) -> None:
        registry = CollectorRegistry()
        registry.register(LedgerCollector(ledger))
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
