"""Connections to Redis, by any address that the settings take: the one place that decides how.

Every wait is bounded, nothing is retried behind our back.
"""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from transfer_tasks.ledger import sentinel
from transfer_tasks.ledger.sentinel_url import SentinelUrl, is_sentinel_url


def _options(timeout_seconds: float) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "socket_connect_timeout": timeout_seconds,
        "socket_keepalive": True,
        # RESP2 and no library name: a new connection costs no handshake round trip (redis-py 8.1).
        "protocol": 2,
        "driver_info": None,
        "health_check_interval": 0,
    }


def connect(url: str, *, timeout_seconds: float) -> redis.Redis:
    """Return a blocking client whose every wait on the socket is bounded by `timeout_seconds`."""
    if is_sentinel_url(url):
        return sentinel.connect(
            SentinelUrl.parse(url), timeout_seconds=timeout_seconds, options=_options(timeout_seconds)
        )
    return redis.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout_seconds, **_options(timeout_seconds)
    )


def connect_async(url: str, *, timeout_seconds: float) -> redis.asyncio.Redis:
    """Return an asyncio client whose connecting is bounded by `timeout_seconds`.

    Whoever waits for an answer bounds the wait: with a limit of its own, redis-py 8.1 starts a task for each
    write, which costs more than the write. Left unsaid, the limit would be 5 s.
    """
    if is_sentinel_url(url):
        return sentinel.connect_async(
            SentinelUrl.parse(url), timeout_seconds=timeout_seconds, options=_options(timeout_seconds)
        )
    return redis.asyncio.Redis.from_url(
        url, retry=AsyncRetry(NoBackoff(), 0), socket_timeout=None, **_options(timeout_seconds)
    )
