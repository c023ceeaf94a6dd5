"""What Flower's pages say above everything else, and when."""

from __future__ import annotations

import pytest

from transfer_worker.monitoring.flower_banner import word_banner

AWAY = "Redis does not answer."
NOW = 1_795_000_000.0


@pytest.mark.parametrize(
    ("seen", "is_alive", "waiting", "line"),
    [
        ([NOW - 1], True, 0, ""),
        ([NOW - 900, NOW - 1], True, 3, ""),
        (
            [NOW - 900, NOW - 12],
            False,
            3,
            "No worker gives a sign of life (the last one at 2026-11-18 11:06:28 UTC, 12 s ago). {} status",
        ),
        ([], False, 3, "No worker gives a sign of life (Flower has heard of none). {} status"),
        # Heartbeats come by way of Redis: without it, nobody knows whether workers live.
        (
            [NOW - 40],
            False,
            None,
            f"{AWAY} These pages show what was so at 2026-11-18 11:06:00 UTC, 40 s ago. {{}} doctor",
        ),
        ([], False, None, f"{AWAY} Flower has heard of no worker. {{}} doctor"),
    ],
)
def test_the_line_says_what_the_pages_do_not(seen, is_alive, waiting, line):
    said = word_banner(now=NOW, seen=seen, is_alive=is_alive, waiting=waiting)
    queue = "" if waiting is None else f"Waiting in the queue: {waiting}. "
    assert said == line.format(f"{queue}See: call-transfer")
