"""The figures as a table for people, the targets, and a plot."""

from pathlib import Path

from benchmarks.numbers import spread
from benchmarks.plot import draw
from benchmarks.targets import FLOOR, OURS, headline_of, judge, ratio_of

BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"
DURABILITIES = ("always", "everysec")

LATENCY_ROWS = (
    ("submit → POST, p50 ms", "to_post_p50_ms"),
    ("submit → POST, p99 ms", "to_post_p99_ms"),
    ("submit call, p50 ms", "submit_p50_ms"),
    ("submit call, p99 ms", "submit_p99_ms"),
    ("building the request and submit call, p50 ms", "build_and_submit_p50_ms"),
    ("building the request and submit call, p99 ms", "build_and_submit_p99_ms"),
    ("first submit call, ms", "first_submit_ms"),
    ("longest stall of the loop at 50/s, ms", "stall_50_ms"),
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


def write_table(runs: list[dict], docs: Path) -> None:
    """Put the tables between the marks in docs/performance.md, and the plot beside it."""
    page = docs / "performance.md"
    if page.exists() and BEGIN in (old := page.read_text("utf-8")):
        before, _, rest = old.partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{_text_of(runs)}\n{END}{after}", "utf-8")
    if runs[-1].get("latency"):
        draw(runs[-1]["latency"], docs / "performance.png")


def _text_of(runs: list[dict]) -> str:
    """Tell of the newest run in full, and of the one before beside it."""
    run = runs[-1]
    parts = [*(_describe(each) for each in runs[-2:])]
    if run.get("latency"):
        parts += [_describe_load(run["latency"]), side_by_side(runs[-2:]), _compare(run)]
    if "scripts" in run:
        parts += describe_scripts(run["scripts"])
    if "processes" in run:
        parts.append("32 at a time, spread over processes and in one, in turns; 50 ms stub:\n")
        parts.append(_processes(run["processes"]))
    if "stages" in run:
        rows = [(step, f"{of['p50_ms']:.2f}", f"{of['p99_ms']:.2f}") for step, of in run["stages"].items()]
        parts.append("Where a transfer's time goes, ms since the step before:\n")
        parts.append(_table(("step", "p50", "p99"), rows))
    if "history" in run:
        parts.append("Revisions in turns, oldest first:\n")
        parts.append(_history(run["history"]))
    return "\n".join(parts)


def _name(run: dict) -> str:
    return f"{run['begun_at']}, {run['machine']['revision']}"


def _describe(run: dict) -> str:
    machine = run["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Run of {run['begun_at']}, {run['rounds']} rounds: "
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, Redis {machine['redis_server']} (AOF); "
        f"revision {machine['revision']}; {versions}. Medians of the rounds, least-greatest in brackets.\n"
    )


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
        (title, *(_cell(_values(headline_of(run).get(OURS, []), key)) for run in newest_first))
        for title, key in HEADLINE_ROWS
    ]
    figures.insert(0, ("`appendfsync`", *(_durability_of(run) for run in newest_first)))
    return (
        _table(head, rows)
        + "\nThis project's figures in both runs:\n\n"
        + _table(("", *(_name(run) for run in newest_first)), figures)
    )


def _durability_of(run: dict) -> str:
    return "always" if run.get("latency", {}).get("always") else "everysec"


def _values(rounds: list[dict], key: str) -> list[float]:
    return [each[key] for each in rounds if key in each]


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
        if any(
            (row := _row(title, durability, key, of, names))[cell] != "-" for cell in range(2, len(names) + 2)
        )
    ]
    rows += [_row(title, "always", key, run.get("counts", {}), names) for title, key in COUNT_ROWS]
    for setting, of in run.get("throughput", {}).items():
        concurrency, delay_ms = setting.split("x")
        title = f"transfers/s, {concurrency} at a time, {delay_ms} ms stub"
        rows.append(_row(title, _durability_of(run), "per_second", of, names))
    return _table(("", "fsync", *names), rows)


def _row(
    title: str, durability: str, key: str, of: dict[str, list[dict]], names: list[str]
) -> tuple[str, ...]:
    return title, durability, *(_cell(_values(of.get(name, []), key)) for name in names)


SCRIPTS_TITLE = (
    "What one transfer asks of Redis, at 50/s, an idle worker's share taken off. A script's time holds "
    "that of its commands; reading, answering and fsync are in none:\n"
)


def _describe_footprint(scripts: dict) -> str:
    left = scripts["footprint"]
    return (
        f"In Lua: {scripts['in_lua']:.1f} commands a transfer. One that has ended holds "
        f"{left['record_bytes']:.0f} bytes of memory, and has written {left['aof_bytes']:.0f} to the AOF.\n"
    )


def describe_scripts(scripts: dict) -> list[str]:
    """Where Redis's time goes, by script and by command."""
    by_cost = sorted(scripts["scripts"].items(), key=lambda each: -each[1]["us"])
    commands = sorted(scripts["commands"].items(), key=lambda each: -each[1]["us"])
    return [
        SCRIPTS_TITLE,
        _table(
            ("script or command", "calls", "commands in Lua", "µs a call, p50", "µs a transfer"),
            [
                (name, f"{of['calls']:.2f}", f"{of['in_lua']:.1f}", f"{of['us_p50']:.0f}", f"{of['us']:.0f}")
                for name, of in by_cost
                if of["calls"] >= 0.005 or of["us"] >= 1
            ],
        ),
        _table(
            ("command, in Lua too", "calls a transfer", "µs a call", "µs a transfer"),
            [
                (
                    name,
                    f"{of['calls']:.2f}",
                    f"{of['us'] / of['calls']:.1f}" if of["calls"] else "-",
                    f"{of['us']:.1f}",
                )
                for name, of in commands
                if of["calls"] >= 0.05
            ],
        ),
        _describe_footprint(scripts),
    ]


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


def _history(history: dict[str, dict]) -> str:
    keys = ("to_post_p50_ms", "to_post_p99_ms", "worker_cpu_ms", "redis_cpu_ms")
    footprint = history.get("footprint", {})
    rows = [
        (
            name,
            durability,
            *(_cell(_values(rounds, key)) for key in keys),
            *(_cell(_values([footprint.get(name, {})], key)) for key in ("record_bytes", "aof_bytes")),
        )
        for durability in DURABILITIES
        for name, rounds in history.get(durability, {}).items()
    ]
    head = ("revision", "fsync", "submit → POST p50 ms", "p99 ms", "CPU worker ms", "CPU Redis ms")
    return _table((*head, "bytes of a record", "bytes in the AOF"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
