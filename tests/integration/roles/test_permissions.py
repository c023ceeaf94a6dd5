"""What each role may do at a real server: all of its work, and nothing else that anybody does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from support.role_users import PASSWORD, add_roles, parts_permissions
from support.waiting import wait_until
from transfer_tasks.redis.connection import connect
from transfer_worker.roles import Place, Role, fill_users_file, try_role
from transfer_worker.roles.acl import ASKS_WHETHER, READS, READS_AND_WRITES, WRITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_all_of_its_work_and_nothing_else(redis_url: str, role: Role) -> None:
    with connect(add_roles(redis_url)[role], timeout_seconds=10) as client:
        trial = try_role(client, role, Place(), is_alone=True)

    assert trial.refused == {}
    assert trial.excess == ()


@pytest.mark.parametrize("role", Role)
def test_on_another_queue_and_database_too(redis_url: str, role: Role) -> None:
    url = add_roles(redis_url, queue="calls")[role]
    with connect(url, timeout_seconds=10) as client:
        assert try_role(client, role, Place(queue="calls"), is_alone=False).refused == {}
        refused = try_role(client, role, Place(), is_alone=False).refused
    assert bool(refused) == (
        role not in {Role.VIEWER, Role.AUDITOR, Role.RECEIVER}
    )  # who does not look at the queue


def test_commands_read_and_write_as_the_roles_say(redis_client: redis.Redis) -> None:
    if not parts_permissions(redis_client):
        pytest.skip("Redis 6.2 does not tell which commands read a key, and which write it")
    for name in sorted(READS | WRITES | READS_AND_WRITES | ASKS_WHETHER):
        told: Any = redis_client.execute_command("COMMAND", "INFO", name)
        flags = {word.decode() for word in told[name]["key_specifications"][0][b"flags"]}
        if "variable_flags" in flags:
            continue  # SET reads with GET alone
        reads, writes = "access" in flags, bool(flags & {"insert", "update", "delete"})
        assert reads == (name in READS | READS_AND_WRITES), (name, flags)
        assert writes == (name in WRITES | READS_AND_WRITES), (name, flags)


def test_the_file_is_one_that_a_server_starts_with(
    start: Callable[..., int], tmp_path: Path, redis_client: redis.Redis
) -> None:
    if not parts_permissions(redis_client):
        pytest.skip("Redis 6.2 does not read rules that part reads from writes")
    users = tmp_path / "users.acl"
    users.write_text(fill_users_file(Place(), dict.fromkeys(Role, PASSWORD)))
    port = start("--aclfile", str(users))

    with (
        redis.Redis(port=port, username="health", password="any") as health,
        redis.Redis(port=port) as nobody,
        redis.Redis(port=port, username="viewer", password="wrong") as stranger,
    ):
        assert wait_until(health.ping, message="the health check passes")
        for refused in (health.dbsize, health.flushall, nobody.ping, stranger.ping):
            with pytest.raises(redis.RedisError):
                refused()
    for role in Role:
        with connect(f"redis://{role}:{PASSWORD}@127.0.0.1:{port}/0", timeout_seconds=10) as client:
            assert try_role(client, role, Place(), is_alone=False).refused == {}
