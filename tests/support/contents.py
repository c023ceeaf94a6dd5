"""What a Redis holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import redis


class Held(NamedTuple):
    """What stands at a key: its value as redis-py returns it, and its time to live; -1 for none."""

    value: Any
    ttl_seconds: int


def everything(client: redis.Redis) -> dict[str, Held]:
    """Return what every key holds, by their names in order.

    Args:
        client: Decodes what it reads.
    """
    found: Any = sorted(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as pipe:
        for name in found:
            pipe.type(name)
        kinds = dict(zip(found, pipe.execute(), strict=True))
        names = [name for name, kind in kinds.items() if kind != "none"]  # gone meanwhile
        for name in names:
            match kinds[name]:
                case "string":
                    pipe.get(name)
                case "hash":
                    pipe.hgetall(name)
                case "list":
                    pipe.lrange(name, 0, -1)
                case "zset":
                    pipe.zrange(name, 0, -1, withscores=True)
                case "set":
                    pipe.smembers(name)
                case "stream":
                    pipe.xrange(name)
                case kind:
                    raise AssertionError(f"{name}: a {kind}")
            pipe.ttl(name)
        held = pipe.execute()
    return {name: Held(*of) for name, *of in zip(names, held[::2], held[1::2], strict=True)}
