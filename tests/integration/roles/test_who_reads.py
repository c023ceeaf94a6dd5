"""Which user at Redis can read what people have said: as docs/data.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis

from support.ledger_bench import LedgerBench
from support.role_users import add_roles
from transfer_tasks.redis.connection import connect
from transfer_worker.roles import Role

PAGE = (Path(__file__).parents[3] / "docs/data.md").read_text("utf-8")
SAID = dict(re.findall(r"^\| `(\w+)` reads (.+?)\.? \| `", PAGE, re.MULTILINE))
"""By the page: a user, and what it reads."""


@pytest.mark.parametrize("role", Role)
def test_a_user_reads_what_the_page_says_and_nothing_else(redis_url: str, role: Role) -> None:
    with connect(redis_url, timeout_seconds=30) as client:
        bench = LedgerBench(client)
        transfer_id = bench.accept(asked_by="Grace Hopper").transfer_id
        logins = add_roles(redis_url)
    keys = bench.keys
    looks = {
        "records": ("HGETALL", keys.record(transfer_id)),
        "the queue": ("LRANGE", "transfers", 0, -1),
        "the outbox": ("XRANGE", keys.audit, "-", "+"),
        "the quarantine": ("LRANGE", keys.quarantine, 0, -1),
    }
    seen = []
    with connect(logins[role], timeout_seconds=30) as client:
        for name, look in looks.items():
            try:
                client.execute_command(*look)
            except redis.exceptions.NoPermissionError:
                continue
            seen.append(name)
    assert (", ".join(seen) or "none of it") == SAID[role]
