"""Connections to the primary that Sentinels name: redis-py's, with what it leaves open fixed.

A connection to a Redis that has been replaced is dropped as soon as that shows, and the Sentinels are asked.
Each gets so small a share of the time that all can be asked within it, deaf ones included.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import redis
from redis import sentinel as blocking
from redis.asyncio import sentinel as nonblocking
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from transfer_tasks.redis.async_connection import CheckedConnection, check_connections
from transfer_tasks.redis.replication import AsyncReplicatedRedis, ReplicatedRedis, Replication

if TYPE_CHECKING:
    from transfer_tasks.redis.sentinel_url import SentinelUrl

_REPLACED: Final = ("READONLY", "NOREPLICAS")
"""What a Redis says that is not a primary any more, or that its replicas have left for another.

Redis 6.2 tells a script so inside of another error, which redis-py takes for any refusal.
"""


def connect(url: SentinelUrl, *, timeout_seconds: float, options: dict[str, Any]) -> redis.Redis:
    """Return a blocking client of the primary.

    Args:
        url: Whom to ask, and for whom.
        timeout_seconds: The longest wait on a socket.
        options: What every connection to Redis gets.
    """
    client: redis.Redis = _Sentinel(url, timeout_seconds).master_for(  # type: ignore[no-untyped-call]
        url.master_name,
        redis_class=ReplicatedRedis if url.replicas else redis.Redis,
        connection_class=_TlsConnection if url.is_tls else _Connection,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_seconds,
        **_login(url),
        **options,
    )
    if isinstance(client, ReplicatedRedis):
        client.replication = _replication(url, timeout_seconds)
    return client


def connect_async(
    url: SentinelUrl, *, timeout_seconds: float, options: dict[str, Any]
) -> redis.asyncio.Redis:
    """Return an asyncio client of the primary; see `connect`. Whoever waits for an answer bounds the wait."""
    client: redis.asyncio.Redis = _AsyncSentinel(url, timeout_seconds).master_for(
        url.master_name,
        redis_class=AsyncReplicatedRedis if url.replicas else redis.asyncio.Redis,
        connection_class=_AsyncTlsConnection if url.is_tls else _AsyncConnection,
        retry=AsyncRetry(NoBackoff(), 0),
        socket_timeout=None,
        **_login(url),
        **options,
    )
    if isinstance(client, AsyncReplicatedRedis):
        client.replication = _replication(url, timeout_seconds)
    return client


def make_sentinel_options(url: SentinelUrl, timeout_seconds: float) -> dict[str, Any]:
    """Return how a Sentinel is connected to: so that all can be asked, and Redis too, in the time given."""
    share_seconds = timeout_seconds / (len(url.sentinels) + 1)
    return {
        "username": url.sentinel_username,
        "password": url.sentinel_password,
        "socket_timeout": share_seconds,
        "socket_connect_timeout": share_seconds,
        "protocol": 2,
        "driver_info": None,
        **({"ssl": True, **url.tls_options} if url.is_tls else {}),
    }


def _login(url: SentinelUrl) -> dict[str, Any]:
    return {"username": url.username, "password": url.password, "db": url.database, **url.tls_options}


def _replication(url: SentinelUrl, timeout_seconds: float) -> Replication:
    # Half: whoever waits hears what is wrong instead of a time-out, and has time left to try again.
    return Replication(replicas=url.replicas, patience_ms=max(1, round(timeout_seconds * 500)))


class _Sentinel(blocking.Sentinel):
    """Asks the one that knew it last first, each over a connection of its own.

    In redis-py 8.1 two that ask at once can lose a Sentinel from the list that both reorder; and what they
    asked by stays open, perhaps dead by the time of the next failover.
    """

    def __init__(self, url: SentinelUrl, timeout_seconds: float) -> None:
        options = make_sentinel_options(url, timeout_seconds) | {"retry": Retry(NoBackoff(), 0)}
        super().__init__(url.sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._addresses = url.sentinels

    def discover_master(self, service_name: str) -> tuple[str, int]:
        for host, port in self._addresses:
            try:
                with redis.Redis(host, port, **self.sentinel_kwargs) as client:
                    primaries: Any = client.sentinel_masters()
            except (redis.ConnectionError, redis.TimeoutError):
                continue
            primary = primaries.get(service_name)
            if primary and self.check_master_state(primary, service_name):  # type: ignore[no-untyped-call]
                self._addresses = _put_first((host, port), self._addresses)
                return primary["ip"], primary["port"]
        raise blocking.MasterNotFoundError(_nobody_knows(service_name, len(self._addresses)))


class _AsyncSentinel(nonblocking.Sentinel):
    """As `_Sentinel`.

    Bounds each answer itself: redis-py 8.1 would write through `asyncio.wait_for`, which in Python 3.11 can
    lose the cancellation by which the publisher's budget ends.
    """

    def __init__(self, url: SentinelUrl, timeout_seconds: float) -> None:
        options = make_sentinel_options(url, timeout_seconds) | {"retry": AsyncRetry(NoBackoff(), 0)}
        self._share_seconds = options["socket_timeout"]
        super().__init__(url.sentinels, sentinel_kwargs=options | {"socket_timeout": None})  # type: ignore[no-untyped-call]
        self._addresses = url.sentinels

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        for host, port in self._addresses:
            try:
                async with asyncio.timeout(self._share_seconds):
                    primaries = await self._ask(host, port)
            except (redis.ConnectionError, redis.TimeoutError, TimeoutError):
                continue
            primary = primaries.get(service_name)
            if primary and self.check_master_state(primary, service_name):
                self._addresses = _put_first((host, port), self._addresses)
                return primary["ip"], primary["port"]
        raise nonblocking.MasterNotFoundError(_nobody_knows(service_name, len(self._addresses)))

    async def _ask(self, host: str, port: int) -> Any:
        client = check_connections(redis.asyncio.Redis(host=host, port=port, **self.sentinel_kwargs))
        try:
            return await client.sentinel_masters()
        finally:
            # Shielded: redis-py 8.1 closes in tasks, which a cancellation can end before they begin.
            await asyncio.shield(client.aclose())


def _put_first(
    address: tuple[str, int], addresses: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    return (address, *(other for other in addresses if other != address))


def _nobody_knows(service_name: str, sentinels: int) -> str:
    return f"none of {sentinels} Sentinels names a primary of {service_name!r}"


class _Connection(blocking.SentinelManagedConnection):
    """Dropped when its Redis turns out to have been replaced."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)
        except ResponseError as error:
            if any(sign in str(error) for sign in _REPLACED):
                self.disconnect()  # type: ignore[no-untyped-call]
            raise


class _TlsConnection(_Connection, redis.SSLConnection):
    pass


class _AsyncConnection(CheckedConnection, nonblocking.SentinelManagedConnection):
    """Dropped when its Redis turns out to have been replaced, and without waiting for the end.

    All that wait for the end of one connection share one future (Python 3.11, streams.py): one whose time is
    over cancels it, and with it the others. When the primary changes, many close what is idle at once.
    """

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if any(sign in str(error) for sign in _REPLACED):
                await self.disconnect()
            raise

    async def disconnect(self, nowait: bool = True, *arguments: Any, **options: Any) -> None:
        await super().disconnect(True, *arguments, **options)


class _AsyncTlsConnection(_AsyncConnection, redis.asyncio.SSLConnection):
    pass
