"""Asyncio connections that say what is known: the border to redis-py and to the event loop below it.

Whatever breaks there reaches us as one of redis-py's errors, and it can be told whether a command has left,
because that decides between "not queued" and "maybe queued"::

    send ──▶ the transport is closed already   ──▶ NotWritten       nothing has left this process
         ──▶ writing or reading broke, anyhow  ──▶ ConnectionError  it may have arrived
         ──▶ Redis answered with an error      ──▶ ResponseError    refused

redis-py 8.1 hands on whatever else comes up. `writelines` on a closed transport raises AttributeError or
TypeError (CPython 3.12 and 3.13, asyncio/selector_events.py), in uvloop RuntimeError; an OSError without
arguments becomes an IndexError inside redis-py; a reply that is not UTF-8 is a UnicodeDecodeError.
"""

from __future__ import annotations

from os import getpid
from typing import TYPE_CHECKING, Any, Final

import redis
import redis.asyncio.connection as nonblocking

if TYPE_CHECKING:
    from collections.abc import Iterable


class NotWritten(redis.ConnectionError):
    """The connection had been closed before anything of the command was written."""


class CheckedConnection(nonblocking.AbstractConnection):
    """Goes before one of redis-py's connections: all that comes out of that one is an error of redis-py's.

    `Exception` is caught on purpose: arguments are packed before, so whatever is raised below is about the
    connection, and a list of what event loops raise would be too short with the next of them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._process_id = getpid()

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Close the connection; not in a forked child, where it is the parent's.

        A child that ends destroys the parent's coroutines, and each of them closes what it reads from.
        """
        if self._process_id == getpid():
            await super().disconnect(*arguments, **options)

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Write a command.

        Raises:
            NotWritten: The connection was closed meanwhile; nothing of it has left.
            redis.RedisError: There is no connection, or writing failed: some of it may have left.
        """
        writer = self._writer
        if writer is not None and writer.transport.is_closing():
            await self.disconnect(nowait=True)
            raise NotWritten("the connection was closed before the command was written")
        try:
            await super().send_packed_command(command, check_health)
        except (redis.RedisError, OSError):
            raise
        except Exception as error:
            raise _lost(error) from error

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read a reply.

        Raises:
            redis.ResponseError: It is an error.
            redis.RedisError: None came, or it can't be read.
        """
        try:
            return await super().read_response(*arguments, **options)
        except (redis.RedisError, OSError):
            raise
        except Exception as error:
            raise _lost(error) from error


class _TcpConnection(CheckedConnection, nonblocking.Connection):
    pass


class _TlsConnection(CheckedConnection, nonblocking.SSLConnection):
    pass


_CHECKED: Final[dict[type, type]] = {
    nonblocking.Connection: _TcpConnection,
    nonblocking.SSLConnection: _TlsConnection,
}


def check_connections(client: redis.asyncio.Redis) -> redis.asyncio.Redis:
    """Have a client that has not connected yet make checked connections, of the kind it was made for."""
    pool = client.connection_pool
    pool.connection_class = _CHECKED[pool.connection_class]
    return client


def _lost(error: Exception) -> redis.ConnectionError:
    return redis.ConnectionError(f"the connection broke: {type(error).__name__}: {error}")
