"""Connections to Redis, by any address that the settings take: the one place that decides how.

Every wait is bounded, nothing is retried behind our back.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import Any

import redis
import redis.asyncio
from hiredis import pack_command
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from transfer_tasks.redis import sentinel
from transfer_tasks.redis.async_connection import check_connections
from transfer_tasks.redis.sentinel_url import SentinelUrl, is_sentinel_url


def _options(timeout_seconds: float) -> dict[str, Any]:
    return {
        "decode_responses": True,
        # Anybody may have put anything there; whoever reads it judges the text.
        "encoding_errors": "backslashreplace",
        "socket_connect_timeout": timeout_seconds,
        "socket_keepalive": True,
        # RESP2 and no library name: a new connection costs no handshake round trip (redis-py 8.1).
        "protocol": 2,
        "driver_info": None,
        "health_check_interval": 0,
    }


class ScriptClient(redis.Redis):
    """A client that runs scripts over a connection of the thread's own.

    With redis-py 8.1, taking a connection from the pool and giving it back costs twice what sending a script
    and reading its reply does.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._of_thread = threading.local()

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Run one command."""
        if arguments[0] != "EVALSHA":
            return super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        connection: Any = getattr(self._of_thread, "connection", None)
        if connection is None or connection.pid != os.getpid():  # a fork must not share its parent's socket
            connection = self._of_thread.connection = self.connection_pool.make_connection()
            connection.register_connect_callback(self._let_the_system_keep_time)
        try:
            # Connects where it is not, or not any more; closes itself on whatever breaks.
            connection.send_packed_command([pack_command(arguments)], check_health=False)
            return connection.read_response()
        except redis.ConnectionError as error:
            if isinstance(error.__context__, BlockingIOError):
                raise redis.TimeoutError(f"no answer within {connection.socket_timeout:g} s") from error
            raise

    def _let_the_system_keep_time(self, connection: Any) -> None:
        """Bound the waits of a new connection by the system's limits instead of Python's.

        On a socket with a limit of its own, Python 3.11 polls before each call, and gives the interpreter's
        lock away twice where once would do; each time it may have to wait for it. TLS needs Python's.
        """
        sock, seconds = connection._sock, connection.socket_timeout  # noqa: SLF001 - redis-py 8.1 offers no other way
        if type(sock) is socket.socket:
            limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            sock.settimeout(None)


def connect(url: str, *, timeout_seconds: float) -> redis.Redis:
    """Return a blocking client whose every wait on the socket is bounded by `timeout_seconds`."""
    options = _options(timeout_seconds)
    if is_sentinel_url(url):
        return sentinel.connect(SentinelUrl.parse(url), timeout_seconds=timeout_seconds, options=options)
    return ScriptClient.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_seconds, **options)


def connect_async(url: str, *, timeout_seconds: float) -> redis.asyncio.Redis:
    """Return an asyncio client whose connecting is bounded by `timeout_seconds`.

    Whoever waits for an answer bounds the wait: with a limit of its own, redis-py 8.1 starts a task for each
    write, which costs more than the write. Left unsaid, the limit would be 5 s.
    """
    if is_sentinel_url(url):
        return sentinel.connect_async(
            SentinelUrl.parse(url), timeout_seconds=timeout_seconds, options=_options(timeout_seconds)
        )
    client = redis.asyncio.Redis.from_url(
        url, retry=AsyncRetry(NoBackoff(), 0), socket_timeout=None, **_options(timeout_seconds)
    )
    return check_connections(client)
