"""Everything at once, for minutes: transfers as shipped, and all who look on. Does anything grow?"""

import time

from benchmarks.figures.growth import Measure, judge_all, judge_memory, name_growing
from benchmarks.figures.numbers import percentile
from benchmarks.parts.run import Tell
from benchmarks.parts.scenes import CONCURRENCY, PER_SECOND, WARMED_UP, pace, warm_up
from benchmarks.stage.leftovers import grown_by, weigh_by_kind
from benchmarks.stage.onlookers import Onlookers, onlookers
from benchmarks.stage.processes import MachineLoad, ProcessTree, Talker
from benchmarks.stage.stage import Stage
from benchmarks.stage.systems import find_systems
from transfer_tasks.ledger.keys import Keys
from transfer_worker.local.setup_files import make_audit_key

SLICE_SECONDS = 10
OUTBOX = Keys().audit

MEASURES = (
    Measure("submit → POST, p50 ms", "to_post_p50_ms", share=0.1, is_wall_time=True),
    Measure("submit → POST, p99 ms", "to_post_p99_ms", share=0.1, is_wall_time=True),
    Measure("submit call, p50 ms", "submit_p50_ms", share=0.1, is_wall_time=True),
    Measure("Redis CPU per transfer, ms", "redis_cpu_ms", share=0.05),
    Measure("Redis CPU, share of a core", "redis_share", share=0.05),
    Measure("worker CPU per transfer, ms", "worker_cpu_ms", share=0.05),
    Measure("audit lines that wait to be written", "backlog_lines", absolute=50),
    # The sweep keeps 100,000, and a transfer has four.
    Measure("audit lines in Redis", "outbox_lines", share=0.02, after=25_500),
    Measure("transfers that wait", "waiting", absolute=5),
    Measure("keys without a TTL", "keys_without_ttl"),
    Measure("worker's memory (RSS), MB", "worker_mb", share=0.02),
    Measure("worker's open files", "open_files", absolute=1),
    # It remembers 10,000 transfers, and copies all of them to its file every half minute.
    Measure("Flower's memory, MB", "flower_mb", share=0.1, after=10_500),
    Measure("memory of `metrics`, MB", "metrics_mb", share=0.02),
    Measure("memory of `status --watch`, MB", "status_mb", share=0.02),
    Measure("a scrape, p50 ms", "scrape_p50_ms", share=0.1, is_wall_time=True),
)

OTHERS = Measure("what others use of the machine, in cores", "others_cores", absolute=0.1)


def measure_mixed(stage: Stage, into: dict, tell: Tell, *, seconds: float) -> None:
    """50 a second; figures by slices of ten seconds, what grows among them, and what each transfer leaves."""
    (ours,) = find_systems("call-transfer")
    stage.clear(delay_ms=50)
    stage.start_aof_anew()
    directory = stage.directory / f"mixed-{time.monotonic_ns()}"
    directory.mkdir()
    audit_file = directory / "audit.jsonl"
    settings = {"TRANSFER_AUDIT_FILE": str(audit_file), "TRANSFER_AUDIT_KEY": make_audit_key()}
    with (
        stage.producer(ours) as producer,
        stage.worker(ours, concurrency=CONCURRENCY, settings=settings) as worker,
        onlookers(stage, directory) as others,
    ):
        warm_up(stage, producer, worker)
        time.sleep(2)
        before = weigh_by_kind(stage.client)
        count = _run_slices(stage, producer, worker, others, into, tell, seconds=seconds)
        _wait_until_written(others)
        left = grown_by(before, weigh_by_kind(stage.client), count)
        into["backlog_at_end"] = others.scraper.scrape()["transfer_audit_backlog_lines"]
        into["failed_scrapes"] = others.scraper.failures
    into["count"] = count
    into["finished_lines"] = audit_file.read_text().count('"transfer.finished"') - WARMED_UP
    into["memory"] = judge_memory(into["slices"], left, outbox=OUTBOX)
    judged = judge_all((*MEASURES, OTHERS), into["slices"], others=OTHERS)
    titles = {measure.key: measure.title for measure in (*MEASURES, OTHERS)}
    into["growth"] = {name: {"title": titles[name], **of._asdict()} for name, of in judged.items()}
    ours = {name: of.verdict for name, of in judged.items() if name != OTHERS.key}
    into["growing"] = name_growing(ours | {"redis_memory": into["memory"]["verdict"]})


def _run_slices(
    stage: Stage,
    producer: Talker,
    worker: ProcessTree,
    others: Onlookers,
    into: dict,
    tell: Tell,
    *,
    seconds: float,
) -> int:
    slices = into["slices"] = []
    wanted, begun, count = max(1, round(seconds / SLICE_SECONDS)), time.monotonic(), 0
    into["doubled"] = 0
    others.scraper.take_times_ms()
    for number in range(wanted):
        time.sleep(max(0.0, begun + number * SLICE_SECONDS - time.monotonic()))
        since, load = time.monotonic(), MachineLoad()
        redis_before, worker_before = stage.redis_cpu_seconds(), worker.cpu_seconds()
        told, posts = pace(stage, producer, worker, PER_SECOND * SLICE_SECONDS, seed=number)
        took = time.monotonic() - since
        redis_cpu, worker_cpu = stage.redis_cpu_seconds() - redis_before, worker.cpu_seconds() - worker_before
        others.check()
        count += len(told["times"])
        into["doubled"] += sum(len(seen) > 1 for seen in posts.values())
        slices.append(
            {
                "at_s": round(time.monotonic() - begun, 2),
                "ended": count,
                "redis_cpu_ms": redis_cpu * 1000 / len(told["times"]),
                "redis_share": redis_cpu / took,
                "others_cores": load.others_cores(),
                "worker_cpu_ms": worker_cpu * 1000 / len(told["times"]),
                **_times(told, posts),
                **_look_at_redis(stage),
                **_look_at_processes(worker, others),
                **_look_at_metrics(others),
            }
        )
        newest = slices[-1]
        tell(
            f"mixed, {number + 1} of {wanted} slices: p99 {newest['to_post_p99_ms']:.2f} ms,"
            f" Redis {newest['redis_cpu_ms']:.2f} ms a transfer",
            (number + 1) / wanted,
        )
    return count


def _times(told: dict, posts: dict) -> dict:
    to_post = [(posts[call][0] - times[0]) / 1e6 for call, times in told["times"].items()]
    submit = [(end - called) / 1e6 for _, called, end in told["times"].values()]
    return {
        "to_post_p50_ms": percentile(to_post, 50),
        "to_post_p99_ms": percentile(to_post, 99),
        "submit_p50_ms": percentile(submit, 50),
    }


def _look_at_redis(stage: Stage) -> dict:
    client = stage.client
    keyspace = client.info("keyspace").get("db0", {"keys": 0, "expires": 0})
    return {
        "used_bytes": client.info("memory")["used_memory"],
        "outbox_bytes": client.memory_usage(OUTBOX, samples=0) or 0,
        "outbox_lines": client.xlen(OUTBOX),
        "keys": keyspace["keys"],
        "keys_without_ttl": keyspace["keys"] - keyspace["expires"],
    }


def _look_at_processes(worker: ProcessTree, others: Onlookers) -> dict:
    return {
        "worker_mb": worker.rss_mb(),
        "open_files": worker.open_files(),
        **{f"{name}_mb": tree.rss_mb() for name, tree in others.trees.items()},
    }


def _look_at_metrics(others: Onlookers) -> dict:
    seen = others.scraper.seen
    return {
        "backlog_lines": seen.get("transfer_audit_backlog_lines", 0.0),
        "waiting": seen.get("transfer_waiting", 0.0),
        "scrape_p50_ms": percentile(others.scraper.take_times_ms() or [0.0], 50),
    }


def _wait_until_written(others: Onlookers) -> None:
    """Return when every transfer has ended and every audit line is in the file."""
    give_up_at = time.monotonic() + 30
    waiting = ("transfer_waiting", "transfer_in_flight", "transfer_audit_backlog_lines")
    while any(others.scraper.scrape()[name] for name in waiting) and time.monotonic() < give_up_at:
        time.sleep(0.5)
