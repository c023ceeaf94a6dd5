"""What a worker does to Redis, tried without doing it: every command, on every key.

Redis judges a command when it is queued in a transaction: whether it knows it, whether the user may run it on
these keys and channels, whether they lie in one slot. Then the transaction is thrown away::

    MULTI ─▶ OK    PING ─▶ QUEUED    LPUSH, BRPOP, HSET … ─▶ QUEUED, or why not    DISCARD

What scripts do inside is judged by the same rules, so it stands here as if it were sent by itself.
`tests/integration/test_redis_commands.py` watches a worker and holds its commands against this list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis

from transfer_worker.queue.transport import CONTROL_EXCHANGE, EVENT_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transfer_tasks.ledger.keys import Keys

Command = tuple[str, ...]

_MAILBOX: Final = f"{CONTROL_EXCHANGE}.pidbox"
_PROBE: Final = "preflight"
"""Stands for every id."""

_HASH: Final = (
    "HSET {} f v",
    "HGET {} f",
    "HMGET {} f",
    "HGETALL {}",
    "HDEL {} f",
    "HEXISTS {} f",
    "HLEN {}",
)
_INDEX: Final = (
    "ZADD {} 1 m",
    "ZREM {} m",
    "ZRANGE {} 0 0",
    "ZRANGEBYSCORE {} 0 1",
    "ZSCORE {} m",
    "ZCARD {}",
)
_COUNTS: Final = ("HINCRBY {} f 1", "HSET {} f 1", "HDEL {} f", "HMGET {} f", "HGETALL {}", "HLEN {}")
_LIST: Final = ("RPUSH {} e", "LINDEX {} 0", "LRANGE {} 0 0", "LLEN {}")
_STREAM: Final = (
    "XADD {} * f v",
    "XLEN {}",
    "XRANGE {} - + COUNT 1",
    "XPENDING {} g",
    "XTRIM {} MAXLEN 100",
    "TTL {}",
    "XGROUP CREATE {} g 0 MKSTREAM",
    "XGROUP DELCONSUMER {} g c",
    "XINFO CONSUMERS {} g",
    "XREADGROUP GROUP g c COUNT 1 STREAMS {} >",
    "XREAD COUNT 1 STREAMS {} 0",
    "XACK {} g 0-1",
    "XAUTOCLAIM {} g c 5000 0-0",
)
_NEWEST_FIRST: Final = ("LPUSH {} e", "LTRIM {} 0 9", "LREM {} 1 e", "LPOS {} e", "LRANGE {} 0 0", "LLEN {}")
_EXPIRING: Final = ("EXPIRE {} 1", "TYPE {}")


def list_commands(keys: Keys, *, queue: str, database: int) -> Iterator[Command]:
    """Return what a worker sends, with its real keys; ids are made up."""
    yield from _of_ledger(keys)
    yield from _of_celery(keys, queue, database)
    # Two slots, wherever there are slots.
    yield "EXISTS", keys.waiting, keys.in_flight


def _of_ledger(keys: Keys) -> Iterator[Command]:
    yield ("TIME",)
    yield "EVAL", "return 1", "0"
    yield "EVALSHA", "0" * 40, "0"
    yield "PUBLISH", keys.reply(_PROBE), ""
    yield "SUBSCRIBE", keys.reply(_PROBE)
    used = {
        keys.record(_PROBE): (*_HASH, "EXISTS {}", *_EXPIRING, f"RENAME {{}} {keys.damaged(_PROBE)}"),
        keys.call(_PROBE): (*_LIST, *_EXPIRING),
        keys.idempotency(_PROBE): ("GET {}", "EXISTS {}", "SET {} v EX 1"),
        keys.request(_PROBE): ("GET {}", "SET {} v EX 1"),
        keys.unmatched(_PROBE): (
            "LRANGE {} 0 0",
            "RPUSH {} e",
            "LTRIM {} 0 9",
            "LREM {} 1 e",
            "EXISTS {}",
            *_EXPIRING,
        ),
        keys.heard: ("HSET {} f v", "HGETALL {}", *_EXPIRING),
        keys.sight(_PROBE): ("GET {}", "SET {} v NX EX 1"),
        keys.worker(_PROBE): ("SET {} v PX 1", "EXISTS {}", "MGET {}", "DEL {}"),
        keys.statistics_slice(0): (*_COUNTS, *_EXPIRING),
        keys.ended(_PROBE, 0): (*_LIST, *_EXPIRING),
        keys.audit: (*_STREAM, *_EXPIRING),
        keys.audit_heads: (*_HASH, *_EXPIRING),
        keys.paused: (*_HASH, "EXISTS {}", *_EXPIRING),
        keys.limits: (*_HASH, "DEL {}", *_EXPIRING),
        keys.limit(_PROBE, _PROBE): ("ZCOUNT {} 0 1", "ZADD {} 1 m", "ZREMRANGEBYSCORE {} 0 1", *_EXPIRING),
        keys.sweep: (*_HASH, *_EXPIRING),
        keys.statistics: (*_COUNTS, *_EXPIRING),
        **dict.fromkeys((keys.quarantine, keys.double_posts), (*_NEWEST_FIRST, *_EXPIRING)),
        **dict.fromkeys(
            (keys.waiting, keys.in_flight, keys.unknown, keys.workers, keys.gone), (*_INDEX, *_EXPIRING)
        ),
    }
    for key, templates in used.items():
        yield from _fill(templates, key)


def _of_celery(keys: Keys, queue: str, database: int) -> Iterator[Command]:
    """What kombu 5.7 does: the queue with its priorities, what is under way, the words among workers."""
    yield ("PING",)
    yield "SCRIPT", "LOAD", "return 1"
    yield "SCRIPT", "EXISTS", "0" * 40
    for exchange in (_MAILBOX, f"{EVENT_EXCHANGE}/worker.heartbeat", f"{EVENT_EXCHANGE}/task.multi"):
        yield "PUBLISH", f"/{database}.{exchange}", ""
    yield "PSUBSCRIBE", f"/{database}.{_MAILBOX}"
    yield "PUNSUBSCRIBE", f"/{database}.{_MAILBOX}"
    yield from _fill(
        ("LPUSH {} e", "RPUSH {} e", "BRPOP {} 1", "LLEN {}", "LINDEX {} 0", "EXISTS {}", "TYPE {}"), queue
    )
    for priority in range(1, 10):  # the sweep empties them into the one list
        yield from _fill(("EXISTS {}", "TYPE {}", "LRANGE {} 0 0", "RPOP {}"), f"{queue}\x06\x16{priority}")
    mailbox, replies = f"{_PROBE}.{_MAILBOX}", f"{_PROBE}.reply.{_MAILBOX}"
    used = {
        keys.unacked: ("HSET {} f v", "HGET {} f", "HDEL {} f", "EXISTS {}", "TYPE {}"),
        keys.unacked_index: ("TYPE {}", "ZADD {} 1 m", "ZREM {} m", "ZRANGEBYSCORE {} 0 1 LIMIT 0 10"),
        keys.unacked_mutex: ("SET {} v NX PX 1", "GET {}", "DEL {}", "PEXPIRE {} 1"),
        mailbox: ("DEL {}", "LLEN {}"),
        replies: ("LPUSH {} e", "BRPOP {} 1", "DEL {}", "LLEN {}"),
        "_kombu.binding_deadlines": ("ZADD {} 1 m", "ZREM {} m", "ZRANGEBYSCORE {} 0 1"),
    }
    for exchange in (queue, _MAILBOX, f"reply.{_MAILBOX}"):
        for kind in ("binding", "binding_permanent"):
            used[f"_kombu.{kind}.{exchange}"] = ("SADD {} m", "SREM {} m", "SMEMBERS {}")
    for key, templates in used.items():
        yield from _fill(templates, key)


def _fill(templates: tuple[str, ...], key: str) -> Iterator[Command]:
    for template in templates:
        yield tuple(key if word == "{}" else word for word in template.split())


def try_commands(client: redis.Redis, commands: list[Command]) -> dict[Command, redis.ResponseError]:
    """Return which commands Redis would not run, with what it says; nothing is run.

    Raises:
        redis.RedisError: No answer, or transactions themselves are refused.
    """
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


def describe_rules(queue: str, database: int) -> str:
    """Return the ACL rules that a worker's user needs, as ACL SETUSER takes them."""
    keys = f"~transfer:* ~{queue}* ~_kombu.binding* ~*.{_MAILBOX}*"
    channels = f"resetchannels &transfer:* &/{database}.{_MAILBOX} &/{database}.{EVENT_EXCHANGE}/*"
    return f"{keys} {channels} +@all -@dangerous +info"
