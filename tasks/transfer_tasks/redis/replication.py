"""Steps that count only once replicas have them.

Redis replicates behind its answers. What the primary alone has is lost with it: an accepted transfer, or the
note that a request was begun, which would then be sent again. So behind Sentinels each step is followed by
WAIT; one that too few replicas have counts as not answered, and is repeated, as every step may be::

    EVALSHA ──▶ reply     PUBLISH, WAIT ──▶ how many replicas have all that was written up to here
                                       └──▶ too few: the connection is dropped, the Sentinels are asked anew

The word to nobody (PUBLISH) goes to the replicas, and to no disk. Without it, WAIT waits for nothing in Redis
7.2 and newer (server.c, `call`) where the step has found everything written: by its own last try on another
connection, say, which the replicas may never have got.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis
import redis.asyncio
from hiredis import pack_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import Connection

CHANNEL: Final = "transfer:replicated"
_SCRIPTS: Final = frozenset({"EVALSHA", "EVAL"})


class NotReplicated(redis.RedisError):
    """Too few replicas are known to have a step. It may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """What a step is followed by.

    Attributes:
        replicas: How many replicas must have it.
        patience_ms: How long they get.
    """

    replicas: int
    patience_ms: int

    @property
    def commands(self) -> tuple[tuple[str | int, ...], ...]:
        """What is sent, in order."""
        return ("PUBLISH", CHANNEL, ""), ("WAIT", self.replicas, self.patience_ms)

    def check(self, replies: Sequence[Any]) -> None:
        """Judge the replies to `commands`; an error of Redis's may stand for one.

        Raises:
            NotReplicated: Too few replicas have it, or the primary is one no longer.
        """
        acknowledged = replies[-1]
        if not isinstance(acknowledged, int):
            raise NotReplicated(f"no primary any more: {acknowledged}")
        if acknowledged < self.replicas:
            raise NotReplicated(
                f"{acknowledged} of {self.replicas} replicas have it after {self.patience_ms} ms"
            )


class ReplicatedRedis(redis.Redis):
    """A blocking client whose scripts count once replicas have what they wrote.

    Attributes:
        replication: Set by whoever makes the client.
    """

    replication: Replication

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Run one command; behind a script, wait for the replicas, in the same round trip.

        Raises:
            NotReplicated: Too few have it.
        """
        if arguments[0] not in _SCRIPTS:
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        (reply,) = run_scripts(self, [arguments])
        if isinstance(reply, redis.RedisError):
            raise reply
        return reply


def run_scripts(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Run scripts in one round trip, and wait for the replicas where a client does; return each one's reply.

    An error of Redis's stands for the reply of a script that it refuses.

    Raises:
        redis.RedisError: Redis did not answer, or too few replicas have them (`NotReplicated`).
    """
    replication = client.replication if isinstance(client, ReplicatedRedis) else None
    with client.pipeline(transaction=False) as pipe:
        for command in (*commands, *(replication.commands if replication else ())):
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        # Not raised by redis-py: it would quote the whole command, with numbers in full.
        replies = pipe.execute(raise_on_error=False)
    of_scripts = replies[: len(commands)]
    if replication and not all(isinstance(reply, redis.RedisError) for reply in of_scripts):
        try:
            replication.check(replies[len(commands) :])
        except NotReplicated:
            # Perhaps the Sentinels name another by now.
            client.connection_pool.disconnect(inuse_connections=False)
            raise
    return of_scripts


class AsyncReplicatedRedis(redis.asyncio.Redis):
    """An asyncio client; `AsyncLedger` has each step of its own followed by `replication`.

    Attributes:
        replication: Set by whoever makes the client.
    """

    replication: Replication


def replication_of(client: redis.asyncio.Redis) -> Replication | None:
    """Return what each step over a client is followed by; None where nothing is."""
    return client.replication if isinstance(client, AsyncReplicatedRedis) else None


async def confirm(replication: Replication, connection: Connection) -> None:
    """Wait for the replicas, behind a step's reply on the same connection.

    Raises:
        NotReplicated: Too few have it. The connection is closed: perhaps the Sentinels name another by now.
    """
    await connection.send_packed_command(b"".join(pack_command(of) for of in replication.commands))  # type: ignore[arg-type]  # hiredis 3.5 types a tuple of one
    try:
        replication.check([await connection.read_response() for _ in replication.commands])
    except (redis.ResponseError, NotReplicated) as error:
        await connection.disconnect(nowait=True)
        raise NotReplicated(str(error)) from error
