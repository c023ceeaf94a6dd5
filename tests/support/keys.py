"""The key-leak check: every key has a TTL, except the queue (conventions, "Redis")."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

# The queue itself and what kombu 5.7 keeps beside it (kombu/transport/redis.py).
KEYS_OF_THE_QUEUE = (
    "transfers",
    "_kombu.binding.*",
    "_kombu.binding_deadlines",
    "_kombu.binding_permanent.*",
    "transfer:unacked",
    "transfer:unacked_index",
    "transfer:unacked_mutex",
)


def keys_without_ttl(client: redis.Redis) -> list[str]:
    """Return the names of all keys that would stay for ever and do not belong to the queue."""
    names = [key.decode() if isinstance(key, bytes) else str(key) for key in client.scan_iter(count=1000)]
    with client.pipeline(transaction=False) as pipe:  # in one round trip, however many there are
        for name in names:
            pipe.ttl(name)
        ttls = pipe.execute()
    return sorted(
        name
        for name, ttl in zip(names, ttls, strict=True)
        if ttl == -1 and not any(fnmatchcase(name, pattern) for pattern in KEYS_OF_THE_QUEUE)
    )
