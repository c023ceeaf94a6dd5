"""Runs of the benchmarks, as they are kept."""

from __future__ import annotations

import pytest


def make_run(*, begun_at: str = "2026-11-27 08:00 UTC", revision: str = "abc1234", **parts) -> dict:
    """A run as results.json keeps it, with these parts."""
    machine = {
        "cores": 2, "processor": "a processor", "memory_gb": 25, "system": "Linux", "python": "3.11.7",
        "redis_server": "Valkey 9.1.2", "revision": revision, "packages": {"celery": "5.7.0"},
    }  # fmt: skip
    return {"begun_at": begun_at, "machine": machine, "rounds": 5, "took_seconds": {}, **parts}


def in_rounds(key: str, *figures: float) -> list[dict]:
    """One system's rounds, with one figure each."""
    return [{"round": number, key: figure} for number, figure in enumerate(figures)]


@pytest.fixture(name="make_run")
def _make_run():
    return make_run


@pytest.fixture(name="in_rounds")
def _in_rounds():
    return in_rounds
