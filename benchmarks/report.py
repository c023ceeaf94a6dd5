"""The figures as a table for people, the targets, and a plot."""

from pathlib import Path

from benchmarks.numbers import spread
from benchmarks.plot import draw
from benchmarks.systems import SYSTEMS
from benchmarks.targets import FLOOR, judge, ratio_of

BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"
OURS = SYSTEMS[0].name

LATENCY_ROWS = (
    ("submit → POST, p50 ms", "to_post_p50_ms"),
    ("submit → POST, p99 ms", "to_post_p99_ms"),
    ("submit call, p50 ms", "submit_p50_ms"),
    ("submit call, p99 ms", "submit_p99_ms"),
    ("building the request and submit call, p50 ms", "build_and_submit_p50_ms"),
    ("building the request and submit call, p99 ms", "build_and_submit_p99_ms"),
    ("first submit call, ms", "first_submit_ms"),
    ("longest stall of the loop, ms", "stall_ms"),
    ("CPU per transfer, producer, ms", "producer_cpu_ms"),
    ("CPU per transfer, worker, ms", "worker_cpu_ms"),
    ("CPU per transfer, Redis, ms", "redis_cpu_ms"),
    ("worker's memory, MB", "worker_mb"),
    ("start → first POST, s", "start_up_s"),
    ("submit → outcome known, p50 ms", "known_p50_ms"),
    ("platform's answer → outcome known, p50 ms", "known_after_answer_p50_ms"),
    ("platform's answer → outcome known, p99 ms", "known_after_answer_p99_ms"),
)
COUNT_ROWS = (
    ("Redis round trips per transfer", "round_trips"),
    ("Redis commands per transfer, in Lua too", "commands"),
    ("idle worker: round trips per second", "idle_round_trips_per_second"),
)


def print_report(results: dict) -> None:
    print("\n" + _text_of(results))


def write_table(results: dict, docs: Path) -> None:
    """Put the tables between the marks in docs/performance.md, and the plot beside it."""
    page = docs / "performance.md"
    if page.exists() and BEGIN in (old := page.read_text("utf-8")):
        before, _, rest = old.partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{_text_of(results)}\n{END}{after}", "utf-8")
    if "latency" in results:
        draw(results, docs / "performance.png")


def _text_of(results: dict) -> str:
    parts = [_describe(results["machine"])]
    if "latency" in results:
        parts += [
            _describe_load(results["latency"]),
            _compare(results),
            _table(("target", "wanted", "measured", ""), judge(results)),
        ]
    if "processes" in results:
        parts.append("32 at a time, spread over processes and in one, in turns; 50 ms stub:\n")
        parts.append(_processes(results["processes"]))
    if "stages" in results:
        rows = [
            (step, f"{of['p50_ms']:.2f}", f"{of['p99_ms']:.2f}") for step, of in results["stages"].items()
        ]
        parts.append("Where a transfer's time goes, ms since the step before:\n")
        parts.append(_table(("step", "p50", "p99"), rows))
    if "history" in results:
        parts.append("Revisions in turns, oldest first:\n")
        parts.append(_history(results["history"]))
    return "\n".join(parts)


def _describe(machine: dict) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, Redis {machine['redis_server']} ({machine['redis_persistence']}); "
        f"revision {machine['revision']}; {versions}. Medians of the rounds, least-greatest in brackets.\n"
    )


def _describe_load(latency: dict[str, list[dict]]) -> str:
    """Say how busy others kept the machine: what a run on a busy machine says of itself."""
    shares = [each["machine_busy_before"] for rounds in latency.values() for each in rounds]
    middle, least, greatest = spread(shares)
    share = f"{middle:.0%} busy ({least:.0%}-{greatest:.0%})"
    return f"Others kept the machine {share}, looked at before each turn.\n"


def _compare(results: dict) -> str:
    names = [name for name, rounds in results["latency"].items() if rounds]
    rows = [_row(title, key, results["latency"], names) for title, key in LATENCY_ROWS]
    if "counts" in results:
        rows += [_row(title, key, results["counts"], names) for title, key in COUNT_ROWS]
    for setting, of in results.get("throughput", {}).items():
        concurrency, delay_ms = setting.split("x")
        title = f"transfers/s, {concurrency} at a time, {delay_ms} ms stub"
        rows.append(_row(title, "per_second", of, names))
    return _table(("", *names), rows)


def _row(title: str, key: str, of: dict[str, list[dict]], names: list[str]) -> tuple[str, ...]:
    return title, *(_cell([each[key] for each in of.get(name, []) if key in each]) for name in names)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    middle, least, greatest = spread(values)
    if len(values) == 1:
        return _number(middle)
    return f"{_number(middle)} ({_number(least)}-{_number(greatest)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _processes(processes: dict[str, list[dict]]) -> str:
    rows = [
        (
            name,
            _cell([each["per_second"] for each in rounds]),
            f"{ratio_of(processes, 'per_second', name, FLOOR):.2f}",
            _cell([each["worker_cpu_ms"] for each in rounds]),
        )
        for name, rounds in processes.items()
    ]
    return _table(("", "transfers/s", "/ floor", "CPU worker ms"), rows)


def _history(history: dict[str, list[dict]]) -> str:
    keys = ("to_post_p50_ms", "to_post_p99_ms", "worker_cpu_ms", "redis_cpu_ms")
    rows = [
        (name, *(_cell([each[key] for each in rounds]) for key in keys)) for name, rounds in history.items()
    ]
    return _table(("revision", "submit → POST p50 ms", "p99 ms", "CPU worker ms", "CPU Redis ms"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
