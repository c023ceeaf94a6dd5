"""The targets, as ratios within each round; the median over the rounds is what counts.

Needs nothing but the figures: tests judge with it where no benchmark is installed.
"""

from statistics import median

OURS, FLOOR, CELERY = "call-transfer", "floor", "celery threads"
AOF_BYTES_BEFORE = 10_063
"""What a transfer left in the AOF at revision 840ad3e: `--parts history --revisions 840ad3e,HEAD`."""

DURABILITIES = ("always", "everysec")
"""Redis's `appendfsync`: as this project ships, and as queues are often run."""

ENDED = 1_000_000
"""How many records of ended transfers the part `ended` looks at, unless told otherwise."""

Row = tuple[str, str, str, str]
"""What, wanted, measured, and the verdict."""

NOT_MEASURED = "not measured"


def judge(run: dict) -> list[Row]:
    """Return a row for each target. One that is missed, or was not measured, stays in the table."""
    latency = headline_of(run)
    throughput, counts, scripts = (run.get(part, {}) for part in ("throughput", "counts", "scripts"))
    footprint = scripts.get("footprint", {})

    def ratio(key: str, peer: str) -> float | None:
        return ratio_of(latency, key, OURS, peer)

    return [
        at_most("Redis CPU per transfer / bare Celery", ratio("redis_cpu_ms", CELERY), 1.5, 1.2),
        at_most("commands in Lua per transfer", scripts.get("in_lua"), 28, 22),
        at_most("memory of an ended record, KB", _kilobytes(footprint.get("record_bytes")), 1.4),
        at_most("the same after a day, KB", _kilobytes(footprint.get("old_record_bytes")), 0.4),
        at_most("AOF bytes per transfer / revision 840ad3e", _of_before(footprint.get("aof_bytes")), 0.5),
        at_most("submit → POST p50 / floor", ratio("to_post_p50_ms", FLOOR), 1.3, 1.2),
        at_most("submit → POST p50 / huey (a stretch goal)", ratio("to_post_p50_ms", "huey"), 1.0),
        at_most("submit → POST p99 / bare Celery", ratio("to_post_p99_ms", CELERY), 0.8),
        at_most("submit → POST p99 / saq", ratio("to_post_p99_ms", "saq"), 1.0),
        at_most("submit call / apply_async", ratio("submit_p50_ms", CELERY), 0.35, 0.3),
        at_most("with its intent built / apply_async", ratio("build_and_submit_p50_ms", CELERY), 0.45, 0.3),
        *(
            at_least(
                f"throughput {setting.replace('x', ' at ')} ms / floor",
                ratio_of(throughput.get(setting, {}), "per_second", OURS, FLOOR),
                0.97,
            )
            for setting in ("8x50", "32x50")
        ),
        at_most(
            "idle process: Redis round trips a second",
            middle_of(counts.get(OURS, []), "idle_round_trips_per_second"),
            6,
        ),
        at_most("start → first POST / Celery threads", ratio("start_up_s", CELERY), 0.8),
        at_most(
            "event loop, 100 submissions at once, longest stall, ms",
            middle_of(latency.get(OURS, []), "burst_stall_ms"),
            20,
        ),
        *_judge_earlier(run, ratio),
    ]


def _judge_earlier(run: dict, ratio) -> list[Row]:
    """Targets of rounds before, which still hold."""
    ended = run.get("ended", {})
    growing = run.get("mixed", {}).get("growing")
    return [
        at_most("figures that grow while everything runs", None if growing is None else len(growing), 0),
        at_most("CPU per transfer in the worker / bare Celery", ratio("worker_cpu_ms", CELERY), 1.4, 1.0),
        at_least(
            "two workers / one, throughput", ratio_of(run.get("workers", {}), "per_second", "2", "1"), 1.8
        ),
        at_most(
            f"p50 with {ended.get('count', ENDED):,} ended / empty",
            ratio_of(ended, "to_post_p50_ms", "full", "empty"),
            1.1,
        ),
    ]


def headline_of(run: dict) -> dict[str, list[dict]]:
    """Return the latency figures with the durability that ships; the other's where there are none."""
    latency = run.get("latency", {})
    return latency.get("always") or latency.get("everysec") or {}


def middle_of(rounds: list[dict], key: str) -> float | None:
    values = [each[key] for each in rounds if each.get(key) is not None]
    return median(values) if values else None


def ratio_of(of: dict[str, list[dict]], key: str, name: str, peer: str) -> float | None:
    """Return the median of one system's figure in another's, over the rounds that both have."""
    figures, others = (_by_round(of.get(each, []), key) for each in (name, peer))
    ratios = [figures[number] / others[number] for number in figures if others.get(number)]
    return median(ratios) if ratios else None


def _by_round(rounds: list[dict], key: str) -> dict[int, float]:
    return {
        each.get("round", place): each[key] for place, each in enumerate(rounds) if each.get(key) is not None
    }


def at_least(what: str, value: float | None, target: float) -> Row:
    if value is None:
        return what, f"≥ {target}", "-", NOT_MEASURED
    return what, f"≥ {target}", f"{value:.2f}", "met" if value >= target else "missed"


def at_most(what: str, value: float | None, target: float, stretch: float | None = None) -> Row:
    wanted = f"≤ {target}" + (f", stretch ≤ {stretch}" if stretch else "")
    if value is None:
        return what, wanted, "-", NOT_MEASURED
    verdict = "stretch met" if stretch and value <= stretch else "met" if value <= target else "missed"
    return what, wanted, f"{value:.2f}", verdict


def _kilobytes(number: float | None) -> float | None:
    return None if number is None else number / 1024


def _of_before(number: float | None) -> float | None:
    return None if number is None or not AOF_BYTES_BEFORE else number / AOF_BYTES_BEFORE
