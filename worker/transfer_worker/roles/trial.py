"""Whether Redis lets somebody do a piece of work, tried without doing it: every command, on every key.

Redis judges a command when it is queued in a transaction: whether it knows it, whether the user may run it on
these keys and channels, whether they lie in one slot. Then the transaction is thrown away::

    MULTI ─▶ OK    PING ─▶ QUEUED    LPUSH, BRPOP, HSET … ─▶ QUEUED, or why not    DISCARD
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis

from transfer_worker.roles.acl import Permissions
from transfer_worker.roles.work import Place, Role, fill_in, list_commands, list_uses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transfer_worker.roles.work import Command

_OF_TRANSACTIONS: Final = frozenset({"MULTI", "EXEC", "DISCARD"})
FOR_NO_ROLE: Final[tuple[Command, ...]] = (
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
    ("ACL", "LIST"),
    ("GET", "a-key-of-somebody-else"),
    ("SET", "a-key-of-somebody-else", ""),
)
"""What no role does, and no user of a role should be able to."""


_WHO: Final = ("ACL", "WHOAMI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a user may not do that a role does, and may do that it does not.

    Attributes:
        refused: What is missing, with what Redis says.
        excess: What is too much.
    """

    refused: dict[Command, redis.ResponseError]
    excess: tuple[Command, ...]


def find_user(client: redis.Redis) -> str:
    """Return the name of the user that a client has logged in as; empty where Redis does not tell."""
    try:
        return str(client.execute_command(*_WHO))  # type: ignore[no-untyped-call]
    except redis.ResponseError:
        return ""


def name_role(user: str) -> Role | None:
    """Return the role that a user's name is that of."""
    return Role(user) if user in set(Role) else None


def try_role(client: redis.Redis, role: Role, at: Place, *, is_alone: bool) -> Trial:
    """Try all of a role's work.

    Args:
        client: As the user whose permissions are tried. Redis notes each refusal in its ACL LOG.
        role: Whose work it is.
        at: The queue and the database.
        is_alone: Whether what is not its work is tried, too.

    Raises:
        redis.RedisError: No answer, or transactions themselves are refused.
    """
    permitted = Permissions.of(role, at)
    # Nobody needs to ask for his own name: see `find_user`.
    own = [command for command in list_commands(role, at) if command != _WHO]
    beyond = (command for command, key in _list_everything(at) if not permitted.cover(command, key))
    strange = list(dict.fromkeys(beyond)) if is_alone else []
    refused = try_commands(client, [*own, *strange])
    return Trial(
        refused={command: refused[command] for command in own if command in refused},
        excess=tuple(command for command in strange if command not in refused),
    )


def _list_everything(at: Place) -> Iterator[tuple[Command, str | None]]:
    """Return what anybody does, and what nobody should; with its key, where it has one."""
    yield from (
        (command, command[1]) if command[0] in {"GET", "SET"} else (command, None) for command in FOR_NO_ROLE
    )
    for role in Role:
        of_keys = {
            command: key
            for key, templates in list_uses(role, at).items()
            for command in fill_in(key, templates)
        }
        for command in list_commands(role, at):
            if command[0] not in _OF_TRANSACTIONS:
                yield command, of_keys.get(command)


def try_commands(client: redis.Redis, commands: Sequence[Command]) -> dict[Command, redis.ResponseError]:
    """Return which commands Redis would not run, with what it says; nothing is run.

    Raises:
        redis.RedisError: No answer, or transactions themselves are refused.
    """
    commands = [command for command in commands if command[0] not in _OF_TRANSACTIONS]
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        connection.send_command("MULTI")
        connection.read_response()
        connection.send_command("PING")
        if _read(connection) == "PONG":  # an error is one of the transaction: it is full, say
            raise redis.ResponseError("unknown command: MULTI is answered, and queues nothing")
        connection.send_packed_command(connection.pack_commands([*commands, ("DISCARD",)]))
        replies = [_read(connection) for _ in (*commands, "DISCARD")]
    finally:
        connection.disconnect()
        pool.release(connection)
    return {
        command: reply
        for command, reply in zip(commands, replies, strict=False)
        if isinstance(reply, redis.ResponseError)
    }


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
