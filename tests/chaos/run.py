"""One run, from an empty Redis to the verdict."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from chaos.auditor import Auditor, find_doubled
from chaos.cluster import WORKER_COMMAND, Cluster
from chaos.connections import Connections
from chaos.faults import FaultInjector
from chaos.history import History
from chaos.load import Load
from chaos.middleman_record import read_middleman_file
from chaos.report import summarize
from chaos.schedule import MIX, PUBLISHERS, plan_faults
from chaos.surroundings import Surroundings
from chaos.verdict import Finding
from chaos.voice_load import VoiceLoad
from chaos.voice_truth import is_moved_twice
from support.audit_trails import find_audit_faults
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.publisher.asynchronous import ENDING_MARGIN_SECONDS
from transfer_tasks.redis.connection import connect
from transfer_worker.audit.heads import read_heads
from transfer_worker.audit.outbox import read_any_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaos.history import Ask
    from chaos.verdict import Verdict

LONGEST_DEADLINE_SECONDS: Final = 15.0
LONGEST_VOICE_SECONDS: Final = 90.0
PROGRESS_SECONDS: Final = 1.0
AUDIT_SECONDS: Final = 8.0
"""How long the writers may take to write the last lines; a dead one's are adopted after 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is made of.

    Attributes:
        seconds: How long sessions and faults begin; the last ones take some time to end.
        voice_per_second: Voice sessions that begin each second.
        plain_per_second: Messages of plain Celery each second.
        companions_per_second: Sessions each second in processes with wrong clocks, and in forked ones.
        connections_per_second: Transfers each second that ring and end, and are told of.
        has_neighbour: Whether another Celery application lives on the same Redis.
        weights: How often each kind of fault comes; None for the usual.
        mix: What the sandbox does wrong.
        middleman: What the proxy in front of it does.
        command: Runs one worker.
        env: Added to the workers' environment.
        directory: Keeps logs and records; none are kept if not given.
        stop_when_doubled: End as soon as the sandbox has carried a transfer out twice.
    """

    seed: int
    seconds: float
    per_second: float = 20.0
    voice_per_second: float = 2.0
    plain_per_second: float = 0.0
    companions_per_second: float = 0.0
    connections_per_second: float = 0.0
    has_neighbour: bool = False
    mean_gap_seconds: float = 1.6
    weights: Mapping[str, float] | None = None
    mix: Mapping[str, float] = field(default_factory=lambda: MIX)
    middleman: Mapping[str, float] = field(default_factory=dict)
    command: Sequence[str] = WORKER_COMMAND
    env: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    stop_when_doubled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    history: History
    verdict: Verdict
    summary: dict[str, Any]


def run(plan: Plan) -> Result:
    """Carry out a run and judge it."""
    if plan.directory is not None:
        plan.directory.mkdir(parents=True)
        return _run_in(plan.directory.resolve(), plan)
    with tempfile.TemporaryDirectory(prefix="call-transfer-chaos-") as directory:
        return _run_in(Path(directory), plan)


def _run_in(directory: Path, plan: Plan) -> Result:
    weights = None if plan.weights is None else dict(plan.weights)
    planned = plan_faults(
        plan.seed, seconds=plan.seconds, mean_gap_seconds=plan.mean_gap_seconds, weights=weights
    )
    with ExitStack() as stack:
        cluster = stack.enter_context(
            Cluster(directory, command=plan.command, env=plan.env, middleman=plan.middleman, seed=plan.seed)
        )
        cluster.set_mix(plan.mix, plan.seed)
        injector = FaultInjector(cluster, planned)
        load = Load(
            cluster.publisher_urls(), seed=plan.seed, per_second=plan.per_second, seconds=plan.seconds
        )
        voice = VoiceLoad(cluster, seed=plan.seed, per_second=plan.voice_per_second, seconds=plan.seconds)
        connections = Connections(
            cluster,
            PUBLISHERS[1],
            seed=plan.seed,
            per_second=plan.connections_per_second,
            seconds=plan.seconds,
        )
        around = Surroundings(plan, cluster)
        stack.callback(connections.end)
        stack.callback(connections.stop)
        stack.callback(around.end)
        stack.callback(around.stop)
        stack.callback(injector.stop)
        stack.callback(load.stop)
        stack.callback(voice.stop)
        around.start()
        connections.start()
        injector.start()
        load.start()
        voice.start()
        if _watch(plan, cluster, injector, load, voice):
            voice.abandon()
        load.stop()
        voice.stop()
        connections.stop()
        around.stop()
        injector.stop()
        load.join(LONGEST_DEADLINE_SECONDS + ENDING_MARGIN_SECONDS + 5)
        voice.join(LONGEST_VOICE_SECONDS)
        asks = [*load.asks, *around.collect_asks()]
        courses = connections.collect()
        history = _collect(cluster, injector, asks)
        history.courses = {course.call_id: course for course in courses}
        history.beats = around.collect_beats()
        history.neighbour_tasks = around.collect_neighbour_tasks(history.faults)
        history.heard, history.voice_calls = voice.heard, voice.call_ids
    if plan.directory is not None:
        history.dump(directory / "history.json")
    verdict = Auditor(history).judge()
    for name in injector.slow_stops:
        verdict.findings.append(Finding("ended", name, "did not stop within its grace period"))
    return Result(history=history, verdict=verdict, summary=summarize(history, verdict))


def _watch(plan: Plan, cluster: Cluster, injector: FaultInjector, load: Load, voice: VoiceLoad) -> bool:
    """Return when the load has ended, or when there is something to condemn and that is enough; say which."""
    started = time.monotonic()
    while time.monotonic() - started < plan.seconds:
        time.sleep(PROGRESS_SECONDS)
        posts = cluster.record_path.read_bytes().count(b"\n")
        _show_progress(
            f"{time.monotonic() - started:5.0f} s of {plan.seconds:.0f}  asked {len(load.asks)}"
            f"  POSTs {posts}  faults {len(injector.log)}  now: "
            + ", ".join(f"{f.kind} of {f.target}" for f in list(injector.log) if f.ended_ms == float("inf"))
        )
        if plan.stop_when_doubled:
            history = History()
            history.read_sandbox_file(cluster.record_path)
            if any(find_doubled(history.posts)) or is_moved_twice(history.posts, voice.call_ids):
                _show_progress("")
                return True
    _show_progress("")
    return False


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text[:110]}")
        sys.stderr.flush()


def _collect(cluster: Cluster, injector: FaultInjector, asks: list[Ask]) -> History:
    client = connect(cluster.redis.url, timeout_seconds=5.0)
    ledger = Ledger(client, namespace="transfer", retention_seconds=3600)
    with client:
        _wait_until_ended(ledger)
        ids = [key.rpartition(":")[2] for key in client.scan_iter(f"{ledger.keys.record('*')}", count=1000)]
        records = {transfer_id: ledger.read(transfer_id) for transfer_id in ids}
        stream = cast("list[tuple[str, Any]]", client.xrange(ledger.keys.audit))
        heads, _ = read_heads(client, ledger.keys)
    history = History(
        asks=asks,
        faults=sorted(injector.log, key=lambda fault: fault.begun_ms),
        records={transfer_id: record for transfer_id, record in records.items() if record},
        stream_ids={line["event_id"] for entry in stream for line in read_any_lines(*entry)},
        slots=cluster.slots(),
    )
    deadline = time.monotonic() + AUDIT_SECONDS
    while True:
        history.repeated_lines = history.broken_lines = 0
        history.read_audit_file(cluster.audit_path)
        if {line.event_id for line in history.lines} >= history.stream_ids or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    history.audit_faults = find_audit_faults(cluster.audit_path, [known.head for known in heads])
    history.read_sandbox_file(cluster.record_path)
    read_middleman_file(history, cluster.middleman_path)
    for path in cluster.directory.glob("*.log"):
        history.read_worker_log(path)
    return history


def _wait_until_ended(ledger: Ledger) -> None:
    """Give open transfers the time that every ending is due in."""
    deadline = time.monotonic() + LONGEST_DEADLINE_SECONDS + ENDING_MARGIN_SECONDS
    keys = ledger.keys
    while time.monotonic() < deadline:
        if not ledger.client.zcard(keys.open_ids):
            return
        time.sleep(0.2)


def as_json(result: Result) -> str:
    """Return the summary and the findings as one JSON object."""
    return json.dumps(
        {
            **result.summary,
            "findings": [f"{f.invariant}: {f.subject} {f.text}" for f in result.verdict.findings],
        }
    )
