"""The figures as tables for people, and the targets."""

from pathlib import Path

from benchmarks.figures.numbers import spread
from benchmarks.figures.targets import OURS, headline_of, judge
from benchmarks.pages.part_tables import describe_parts
from benchmarks.pages.tables import cell, table, values_of

BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"

LATENCY_ROWS = (
    ("submit → POST, p50 ms", "to_post_p50_ms"),
    ("submit → POST, p99 ms", "to_post_p99_ms"),
    ("submit call, p50 ms", "submit_p50_ms"),
    ("submit call, p99 ms", "submit_p99_ms"),
    ("building the request and submit call, p50 ms", "build_and_submit_p50_ms"),
    ("building the request and submit call, p99 ms", "build_and_submit_p99_ms"),
    ("first submit call, ms", "first_submit_ms"),
    ("longest stall of the loop, 100 at once, ms", "burst_stall_ms"),
    ("CPU per transfer, producer, ms", "producer_cpu_ms"),
    ("CPU per transfer, worker, ms", "worker_cpu_ms"),
    ("CPU per transfer, Redis, ms", "redis_cpu_ms"),
    ("worker's memory, MB", "worker_mb"),
    ("start → first POST, s", "start_up_s"),
    ("submit → outcome known, p50 ms", "known_p50_ms"),
    ("platform's answer → outcome known, p50 ms", "known_after_answer_p50_ms"),
    ("platform's answer → outcome known, p99 ms", "known_after_answer_p99_ms"),
)
HEADLINE_ROWS = tuple(
    row
    for row in LATENCY_ROWS
    if row[1]
    in {
        "to_post_p50_ms", "to_post_p99_ms", "submit_p50_ms", "build_and_submit_p50_ms", "worker_cpu_ms",
        "redis_cpu_ms", "worker_mb", "start_up_s", "known_after_answer_p50_ms", "burst_stall_ms",
    }
)  # fmt: skip
COUNT_ROWS = (
    ("Redis round trips per transfer", "round_trips"),
    ("Redis commands per transfer, in Lua too", "commands"),
    ("idle worker: round trips per second", "idle_round_trips_per_second"),
)


def print_report(runs: list[dict]) -> None:
    print("\n" + _text_of(runs))


def write_tables(runs: list[dict], docs: Path) -> None:
    """Put the tables between the marks in docs/performance.md, the newest run first."""
    page = docs / "performance.md"
    if page.exists() and BEGIN in (old := page.read_text("utf-8")):
        before, _, rest = old.partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{_text_of(runs)}\n{END}{after}", "utf-8")


def _text_of(runs: list[dict]) -> str:
    """Tell of the newest run in full, and of the one before beside it."""
    run = runs[-1]
    parts = [*(_describe(each) for each in runs[-2:])]
    if run.get("latency"):
        parts += [
            describe_rounds(run),
            _describe_load(run["latency"]),
            side_by_side(runs[-2:]),
            _compare(run),
        ]
    parts += describe_parts(run)
    return "\n".join(parts)


def _name(run: dict) -> str:
    return f"{run['begun_at']}, {run['machine']['revision']}"


def _describe(run: dict) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Run of {run['begun_at']}, {run['rounds']} rounds: "
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, {_server_of(machine)} (AOF); "
        f"revision {machine['revision']}; {versions}. Medians of the rounds, least-greatest in brackets.\n"
    )


def _server_of(machine: dict) -> str:
    told = machine["redis_server"]
    return told if " " in told else f"Redis {told}"  # runs before named no server


def side_by_side(runs: list[dict]) -> str:
    """The targets and the headline figures, a column for each run, the newest first."""
    newest_first = runs[::-1]
    judged = [judge(run) for run in newest_first]
    head = ("target", "wanted", *(word for run in newest_first for word in (_name(run), "")))
    others = [{row[0]: row for row in rows} for rows in judged]
    rows = [
        (what, wanted, *(word for of in others for word in of.get(what, ("", "", "-", ""))[2:]))
        for what, wanted, *_ in judged[0]
    ]
    figures = [
        (title, *(cell(values_of(headline_of(run).get(OURS, []), key)) for run in newest_first))
        for title, key in HEADLINE_ROWS
    ]
    figures.insert(0, ("`appendfsync`", *(_durability_of(run) for run in newest_first)))
    return (
        table(head, rows)
        + "\nThis project's figures:\n\n"
        + table(("", *(_name(run) for run in newest_first)), figures)
    )


def _durability_of(run: dict) -> str:
    return "always" if run.get("latency", {}).get("always") else "everysec"


def _describe_load(latency: dict[str, dict[str, list[dict]]]) -> str:
    """Say how busy others kept the machine: what a run on a busy machine says of itself."""
    shares = [
        each["machine_busy_before"] for of in latency.values() for rounds in of.values() for each in rounds
    ]
    if not shares:
        return ""
    middle, least, greatest = spread(shares)
    share = f"{middle:.0%} busy ({least:.0%}-{greatest:.0%})"
    return f"Others kept the machine {share}, looked at before each turn.\n"


def _compare(run: dict) -> str:
    names = [name for name, rounds in headline_of(run).items() if rounds]
    rows = [
        row
        for title, key in LATENCY_ROWS
        for durability, of in run["latency"].items()
        if (row := _row(title, durability, key, of, names))
    ]
    rows += [
        row for title, key in COUNT_ROWS if (row := _row(title, "always", key, run.get("counts", {}), names))
    ]
    for setting, of in run.get("throughput", {}).items():
        concurrency, delay_ms = setting.split("x")
        title = f"transfers/s, {concurrency} at a time, {delay_ms} ms stub"
        if row := _row(title, _durability_of(run), "per_second", of, names):
            rows.append(row)
    return table(("", "fsync", *names), rows)


def _row(
    title: str, durability: str, key: str, of: dict[str, list[dict]], names: list[str]
) -> tuple[str, ...] | None:
    """Return a row; None where no system has this figure."""
    cells = [cell(values_of(of.get(name, []), key)) for name in names]
    return (title, durability, *cells) if any(each != "-" for each in cells) else None


def describe_rounds(run: dict) -> str:
    """Say which systems had fewer rounds, and which durability."""
    told = []
    for durability, of in run["latency"].items():
        by_count: dict[int, list[str]] = {}
        for name, rounds in of.items():
            by_count.setdefault(len(rounds), []).append(name)
        told += [
            f"{count} for {', '.join(names)} ({durability})"
            for count, names in sorted(by_count.items(), reverse=True)
        ]
    return f"Rounds of the times: {'; '.join(told)}.\n"
