"""What stands below the targets: tables of single parts. A part that lacks brings none."""

from collections.abc import Iterator

from benchmarks.figures.growth import TOO_SHORT
from benchmarks.figures.targets import DURABILITIES, FLOOR, ratio_of
from benchmarks.pages.tables import cell, number, table, values_of

SCRIPTS_TITLE = (
    "What one transfer asks of Redis, at 50/s, an idle worker's share taken off. A script's time holds "
    "that of its commands; reading, answering and fsync are in none:\n"
)


def describe_parts(run: dict) -> Iterator[str]:
    """Yield the titles and tables of what this run has measured."""
    for part, describe in (
        ("scripts", describe_scripts),
        ("processes", _describe_processes),
        ("stages", _describe_stages),
        ("mixed", describe_mixed),
        ("ended", describe_ended),
        ("history", _describe_history),
    ):
        if run.get(part):
            yield from describe(run[part])


def describe_scripts(scripts: dict) -> list[str]:
    """Where Redis's time goes, by script and by command."""
    by_cost = sorted(scripts["scripts"].items(), key=lambda each: -each[1]["us"])
    commands = sorted(scripts["commands"].items(), key=lambda each: -each[1]["us"])
    return [
        SCRIPTS_TITLE,
        table(
            ("script or command", "calls", "commands in Lua", "µs a call, p50", "µs a transfer"),
            [
                (name, f"{of['calls']:.2f}", f"{of['in_lua']:.1f}", f"{of['us_p50']:.0f}", f"{of['us']:.0f}")
                for name, of in by_cost
                if of["calls"] >= 0.005 or of["us"] >= 1
            ],
        ),
        table(
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


def _describe_footprint(scripts: dict) -> str:
    left = scripts["footprint"]
    return (
        f"In Lua: {scripts['in_lua']:.1f} commands a transfer. One that has ended holds "
        f"{left['record_bytes']:.0f} bytes of memory, and has written {left['aof_bytes']:.0f} to the AOF.\n"
    )


def _describe_processes(processes: dict[str, list[dict]]) -> list[str]:
    rows = []
    for name, rounds in processes.items():
        ratio = ratio_of(processes, "per_second", name, FLOOR)
        rows.append(
            (
                name,
                cell(values_of(rounds, "per_second")),
                "-" if ratio is None else f"{ratio:.2f}",
                cell(values_of(rounds, "worker_cpu_ms")),
            )
        )
    return [
        "32 at a time, spread over processes and in one, in turns; 50 ms stub:\n",
        table(("", "transfers/s", "/ floor", "CPU worker ms"), rows),
    ]


def _describe_stages(stages: dict[str, dict]) -> list[str]:
    rows = [(step, f"{of['p50_ms']:.2f}", f"{of['p99_ms']:.2f}") for step, of in stages.items()]
    return [
        "Where a transfer's time goes, ms since the step before:\n",
        table(("step", "p50", "p99"), rows),
    ]


def describe_mixed(mixed: dict) -> list[str]:
    """Whether anything grows; nothing of a part that was interrupted."""
    if "growth" not in mixed:
        return []
    memory, seconds = mixed["memory"], mixed["slices"][-1]["at_s"]
    rows = [
        (
            of["title"],
            number(of["first"]),
            number(of["last"]),
            "-" if of["per_minute"] is None else f"{of['per_minute']:+.3g}",
            of["verdict"],
        )
        for of in mixed["growth"].values()
    ]
    leaves = ", ".join(
        f"`{kind}` {of['bytes']:.0f}" for kind, of in memory["kinds"].items() if of["bytes"] >= 1
    )
    title = (
        f"Everything at once, {mixed['count']:,} transfers in {seconds / 60:.0f} min, with audit file, "
        "Flower, `metrics` scraped every second and `status --watch`: "
        f"**{_tell_growing(mixed['growing'])}**. {mixed['doubled']} sent twice; "
        f"{mixed['finished_lines']:,} endings in the audit file; {mixed['failed_scrapes']} scrapes failed.\n"
    )
    left = (
        f"Redis's memory grows by {memory['bytes_per_transfer']:.0f} bytes with each transfer, audit lines "
        f"apart; the keys that it leaves hold {memory['keys_bytes_per_transfer']:.0f} ({memory['verdict']}): "
        f"{leaves}.\n"
    )
    picture = "![p99 and Redis's processor time over the minutes](performance-mixed.png)\n"
    return [title, table(("", "first third", "last third", "a minute", ""), rows), left, picture]


def _tell_growing(growing: list[str] | None) -> str:
    if growing is None:
        return TOO_SHORT
    return f"{', '.join(growing)} GROWS" if growing else "nothing grows"


_ENDED_ROWS = (
    ("submit → POST, p50 ms", "to_post_p50_ms"),
    ("submit → POST, p99 ms", "to_post_p99_ms"),
    ("submit call, p50 ms", "submit_p50_ms"),
    ("CPU per transfer, Redis, ms", "redis_cpu_ms"),
    ("start → first POST, s", "start_up_s"),
    ("`call-transfer status`, ms", "status_ms"),
    ("the same, Redis's processor time, ms", "status_redis_ms"),
)


def describe_ended(ended: dict) -> list[str]:
    """What a Redis full of ended transfers costs, beside an empty one."""
    if not ended.get("full"):
        return []
    rows = [
        (title, *(cell(values_of(ended[name], key)) for name in ("empty", "full")))
        for title, key in _ENDED_ROWS
    ]
    told = f"{ended['count']:,} ended transfers, {ended['bytes_each']:.0f} bytes each"
    if "full_bytes" in ended:
        before_mb, after_mb = ended["empty_bytes"] / 1e6, ended["full_bytes"] / 1e6
        told += f" (Redis held {before_mb:.1f} MB before, {after_mb:.0f} MB after)"
    if ended.get("left_out"):
        left_out = "; ".join(f"`{kind}` {why}" for kind, why in ended["left_out"].items())
        told += f". Not copied: {left_out}"
    return [f"{told}. In turns with an empty Redis:\n", table(("", "empty", "full"), rows)]


def _describe_history(history: dict[str, dict]) -> list[str]:
    keys = ("to_post_p50_ms", "to_post_p99_ms", "worker_cpu_ms", "redis_cpu_ms")
    footprint = history.get("footprint", {})
    rows = [
        (
            name,
            durability,
            *(cell(values_of(rounds, key)) for key in keys),
            *(cell(values_of([footprint.get(name, {})], key)) for key in ("record_bytes", "aof_bytes")),
        )
        for durability in DURABILITIES
        for name, rounds in history.get(durability, {}).items()
    ]
    head = ("revision", "fsync", "submit → POST p50 ms", "p99 ms", "CPU worker ms", "CPU Redis ms")
    return [
        "Revisions in turns, oldest first:\n",
        table((*head, "bytes of a record", "bytes in the AOF"), rows),
    ]
