"""A user for each role at a Redis, and the steps taken by whoever takes them."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis

from support import keys_without_ttl
from support.ledger_bench import LedgerBench
from transfer_tasks.ledger.ledger import Ledger
from transfer_tasks.redis.connection import connect
from transfer_worker.roles import STEPS, Place, Role, describe_role
from transfer_worker.runtime.redis_checks import KEYS_ARE_PARTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.script import Command

T = TypeVar("T")

PASSWORD: Final = "password-of-a-role"
OF_CONNECTIONS: Final = {"client", "client|setinfo", "client|setname"}
"""redis-py tells its name, and goes on without."""


def parts_permissions(client: redis.Redis) -> bool:
    """Say whether this server has separate permissions to read and to write a key."""
    told: Any = client.info("server")
    version = tuple(map(int, str(told["redis_version"]).split(".")[:2]))
    return version >= KEYS_ARE_PARTED


def add_roles(url: str, *, queue: str = "transfers") -> dict[Role, str]:
    """Make a user for each role at a Redis; return where each of them logs in. Skips where there are none."""
    with redis.Redis.from_url(url) as client:
        if not parts_permissions(client):
            pytest.skip("Redis 6.2 has one permission for a key: the roles need Redis 7 or newer, or Valkey")
        for role in Role:
            rules = describe_role(role, Place(queue=queue)).split()
            client.execute_command("ACL", "SETUSER", role, "reset", "on", f">{PASSWORD}", *rules)
        client.execute_command("ACL", "LOG", "RESET")
    return {role: log_in(url, role) for role in Role}


def log_in(url: str, role: Role) -> str:
    """Return the address of a Redis with the login of a role."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:{PASSWORD}@{parts.hostname}:{parts.port}"))


def refusals(url: str) -> list[str]:
    """Return what Redis has refused to users of roles since they were made; also inside of scripts."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        log: Any = client.execute_command("ACL", "LOG", "128")
    return [
        f"{entry['username']}: {entry['object']} ({entry['reason']}, {entry['context']})"
        for entry in log
        if entry["username"] in set(Role) and entry["object"] not in OF_CONNECTIONS
    ]


class RoleBench(LedgerBench):
    """Each step by the user of the first role that takes it; what a test looks up, it looks up as itself."""

    def __init__(self, client: redis.Redis, urls: dict[Role, str], *, retention_seconds: int = 1000) -> None:
        super().__init__(client, retention_seconds=retention_seconds)
        self._ledgers = {
            role: Ledger(connect(url, timeout_seconds=30), retention_seconds=retention_seconds)
            for role, url in urls.items()
        }

    def run(self, command: Command[T]) -> T:
        """Run any step."""
        name = command.script.name
        roles = [role for role in Role if name in STEPS[role]]
        assert roles, f"no role takes the step {name!r}: transfer_worker/roles/work.py"
        return self._ledgers[roles[0]].run(command)

    def close(self) -> None:
        for ledger in self._ledgers.values():
            ledger.client.close()


@contextmanager
def open_bench(url: str, *, retention_seconds: int = 1000) -> Iterator[LedgerBench]:
    """The steps, each by the user of a role that takes it; at the end, no refusals and no leaked keys."""
    with connect(url, timeout_seconds=30) as client:
        if not parts_permissions(client):
            yield LedgerBench(client, retention_seconds=retention_seconds)
        else:
            with closing(RoleBench(client, add_roles(url), retention_seconds=retention_seconds)) as bench:
                yield bench
            refused = refusals(url)
            assert refused == [], refused
        assert keys_without_ttl(client) == []
