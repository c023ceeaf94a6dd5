"""Whether a worker could start with the settings; whoever is on call often sits where it could not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer_worker.runtime.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def check_settings(problems: Sequence[str]) -> Iterator[Finding]:
    """Name what is wrong; say nothing where nothing is."""
    if problems:
        yield Finding.problem(
            "settings",
            seen="; ".join(problems),
            fix="No worker starts here with that: correct the environment or .env. Of a worker elsewhere it "
            "says nothing, and what a worker alone needs is not looked at.",
        )
