"""The tables of two runs side by side, and the page that they stand in."""

from __future__ import annotations

import pytest
from benchmarks.pages.report import BEGIN, END, describe_rounds, print_report, side_by_side, write_tables

OURS, FLOOR = "call-transfer", "floor"
SCRIPTS = {
    "scripts": {
        "accept.lua": {"calls": 1.0, "in_lua": 15.0, "us_p50": 90.0, "us": 100.0},
        "BRPOP": {"calls": 1.2, "in_lua": 0.0, "us_p50": 3.0, "us": 200.0},
        "PING": {"calls": 0.0, "in_lua": 0.0, "us_p50": 1.0, "us": 0.0},
    },
    "commands": {"hset": {"calls": 2.0, "us": 8.0}, "info": {"calls": 0.0, "us": 0.0}},
    "in_lua": 15.0,
    "footprint": {"record_bytes": 1300.0, "aof_bytes": 5000.0},
}


def latency(**figures: float) -> dict:
    ours = {"round": 0, "machine_busy_before": 0.1, **figures}
    floor = {"round": 0, "machine_busy_before": 0.3, "to_post_p50_ms": 1.0}
    return {"always": {OURS: [ours], FLOOR: [floor]}, "everysec": {OURS: [], FLOOR: [floor]}}


@pytest.fixture
def runs(make_run):
    before = make_run(
        begun_at="2026-11-27 03:00 UTC",
        revision="older12",
        latency=latency(to_post_p50_ms=2.0, worker_mb=100),
    )
    newest = make_run(latency=latency(to_post_p50_ms=1.25, worker_mb=108), scripts=SCRIPTS)
    return [before, newest]


def row(text: str, title: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [word.strip() for word in line.strip("|").split("|")]


def test_two_runs_stand_side_by_side_the_newest_first(runs):
    text = side_by_side(runs)
    assert row(text, "target")[2:] == [
        "2026-11-27 08:00 UTC, abc1234",
        "",
        "2026-11-27 03:00 UTC, older12",
        "",
    ]
    assert row(text, "submit → POST p50 / floor")[2:] == ["1.25", "met", "2.00", "missed"]
    assert row(text, "worker's memory, MB")[1:] == ["108", "100"]


def test_what_one_run_lacks_is_said_in_its_own_column(runs):
    text = side_by_side(runs)
    assert row(text, "commands in Lua per transfer")[2:] == ["15.00", "stretch met", "-", "not measured"]
    assert row(text, "memory of an ended record, KB")[2:] == ["1.27", "met", "-", "not measured"]


def test_targets_of_other_numbers_are_not_compared(make_run):
    runs = [make_run(ended={"count": count}) for count in (1_000_000, 50_000)]
    assert row(side_by_side(runs), "p50 with 50,000 ended / empty")[3:] == ["not measured", "-", ""]


def test_a_single_run_stands_alone(runs):
    assert len(row(side_by_side(runs[:1]), "submit → POST p50 / floor")) == 4


def test_the_report_has_every_system_both_durabilities_and_the_parts(runs, capsys):
    print_report(runs)
    text = capsys.readouterr().out
    assert "Valkey 9.1.2 (AOF)" in text
    assert "30% busy (10%-30%)" in text
    assert "| submit → POST, p50 ms | always | 1.25 | 1.00 |\n" in text
    assert "| submit → POST, p50 ms | everysec | - | 1.00 |\n" in text
    # By cost, and without what a transfer doesn't ask for.
    assert text.index("| BRPOP |") < text.index("| accept.lua |")
    assert "| PING |" not in text
    assert "| info |" not in text


def test_the_report_says_who_had_fewer_rounds(make_run):
    two = [{"round": number} for number in range(2)]
    run = make_run(latency={"always": {OURS: two * 2, FLOOR: two * 2, "rq": two}, "everysec": {OURS: two}})
    assert describe_rounds(run) == (
        "Rounds of the times: 4 for call-transfer, floor (always); 2 for rq (always); "
        "2 for call-transfer (everysec).\n"
    )


def test_parts_that_were_interrupted_break_no_report(make_run, capsys):
    parts = ("counts", "scripts", "throughput", "workers", "processes", "stages", "backlog", "mixed", "ended")
    print_report([make_run(latency=latency(to_post_p50_ms=1.0), **{part: {} for part in parts})])
    assert "not measured" in capsys.readouterr().out
    # The floor's turn has not come yet.
    print_report([make_run(processes={OURS: [{"round": 0, "per_second": 500.0, "worker_cpu_ms": 1.5}]})])
    assert "| call-transfer | 500 | - | 1.50 |" in capsys.readouterr().out
    print_report([make_run(latency={})])


MIXED = {
    "slices": [{"at_s": 300.0}, {"at_s": 600.0}],
    "count": 30_000,
    "doubled": 0,
    "finished_lines": 30_000,
    "failed_scrapes": 1,
    "growing": [],
    "growth": {
        "worker_mb": {
            "title": "worker's memory",
            "first": 126.0,
            "last": 127.5,
            "per_minute": 0.0123,
            "verdict": "level",
        },
        "flower_mb": {
            "title": "Flower's memory",
            "first": 93.0,
            "last": 111.0,
            "per_minute": None,
            "verdict": "too short to tell",
        },
    },
    "memory": {
        "bytes_per_transfer": 2561.4,
        "keys_bytes_per_transfer": 2440.2,
        "kinds": {
            "transfer:record:*": {"keys": 1, "bytes": 2066},
            "transfer:statistics": {"keys": 0, "bytes": 0.1},
        },
        "verdict": "with its keys",
    },
}


def test_the_part_with_everything_at_once_says_whether_anything_grows(make_run, capsys):
    print_report([make_run(mixed=MIXED)])
    text = capsys.readouterr().out
    assert "30,000 transfers in 10 min" in text
    assert "**nothing grows**. 0 sent twice; 30,000 endings in the audit file; 1 scrapes failed." in text
    assert row(text, "worker's memory")[1:] == ["126", "128", "+0.0123", "level"]
    assert row(text, "Flower's memory")[1:] == ["93.0", "111", "-", "too short to tell"]
    assert "grows by 2561 bytes" in text
    assert "hold 2440 (with its keys): `transfer:record:*` 2066.\n" in text
    assert "(performance-mixed.png)" in text


@pytest.mark.parametrize(
    ("growing", "said"), [(["worker_mb"], "worker_mb GROWS"), (None, "too short to tell")]
)
def test_what_grows_is_named(make_run, capsys, growing, said):
    print_report([make_run(mixed=MIXED | {"growing": growing})])
    assert f"**{said}**" in capsys.readouterr().out


def test_everything_at_once_that_was_interrupted_has_no_table_yet(make_run, capsys):
    print_report([make_run(mixed={"slices": MIXED["slices"], "doubled": 0})])
    assert "Everything at once" not in capsys.readouterr().out


def test_what_a_full_redis_costs_stands_beside_an_empty_one(make_run, capsys):
    ended = {
        "count": 1_000_000,
        "bytes_each": 2629.4,
        "empty_bytes": 2.9e6,
        "full_bytes": 2.632e9,
        "left_out": {"transfer:audit": "has a limit of its own"},
        "empty": [{"round": 0, "status_ms": 500.0}],
        "full": [{"round": 0, "status_ms": 510.0}],
    }
    print_report([make_run(ended=ended)])
    text = capsys.readouterr().out
    assert "1,000,000 ended transfers, 2629 bytes each (Redis held 2.9 MB before, 2632 MB after)" in text
    assert "Not copied: `transfer:audit` has a limit of its own." in text
    assert row(text, "`call-transfer status`, ms")[1:] == ["500", "510"]
    assert row(text, "submit → POST, p50 ms")[1:] == ["-", "-"]


def test_a_full_redis_that_was_not_measured_to_the_end_has_no_table(make_run, capsys):
    print_report([make_run(ended={"count": 1_000_000, "bytes_each": 2629.4, "full": []})])
    assert "ended transfers" not in capsys.readouterr().out


def test_the_page_gets_the_tables_between_its_marks_and_keeps_the_rest(runs, tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{BEGIN}\n\nold figures\n\n{END}\n\nafter\n")
    write_tables(runs, tmp_path)
    text = page.read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n\nRun of 2026-11-27 03:00 UTC")
    assert text.endswith(f"\n{END}\n\nafter\n")
    assert "old figures" not in text
    write_tables(runs, tmp_path)
    assert page.read_text() == text
