"""What is done to the ledger's keys: by whoever looks, by whoever asks, by a worker, by an operator.

What scripts do inside is judged by the same rules as what is sent by itself, so both stand here. `{}` is the
key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transfer_worker.roles.work import Place, Uses

_HASH: Final = (
    "HSET {} f v",
    "HGET {} f",
    "HMGET {} f",
    "HGETALL {}",
    "HDEL {} f",
    "HEXISTS {} f",
    "HLEN {}",
)
_EXPIRING: Final = ("EXPIRE {} 1", "TYPE {}")
_COUNTS: Final = ("HINCRBY {} f 1", "HDEL {} f", "HLEN {}", *_EXPIRING)
_NEWEST_FIRST: Final = ("LPUSH {} e", "LTRIM {} 0 9", *_EXPIRING)
_ZSET: Final = ("ZADD {} 1 m", "ZREM {} m", *_EXPIRING)
_OUTBOX: Final = ("XRANGE {} - +", "XREVRANGE {} + -", "XREAD COUNT 1 STREAMS {} 0")
_BACKLOG: Final = ("XRANGE {} - + COUNT 1", "XPENDING {} g", "XINFO GROUPS {}")


def list_endings(at: Place) -> Uses:
    """What any step does that reads a record, sets a damaged one aside, or ends a transfer."""
    keys, each = at.keys, at.each
    return {
        keys.record(each): (
            *("HMGET {} f", "HGET {} f", "EXISTS {}", "HSET {} f v", "HDEL {} f"),
            *(*_EXPIRING, f"RENAME {{}} {keys.damaged(each)}"),
        ),
        keys.damaged(each): ("EXPIRE {} 1",),
        keys.open_ids: ("ZREM {} m", "TYPE {}"),
        keys.unknown: _ZSET,
        keys.ended(each, at.number): ("RPUSH {} e", *_EXPIRING),
        keys.double_posts: _NEWEST_FIRST,
        keys.paused: ("EXISTS {}", "HMGET {} f"),
        keys.audit: ("XADD {} * f v", *_EXPIRING),
        keys.statistics: _COUNTS,
        keys.statistics_slice(at.number): _COUNTS,
        keys.uncounted: ("RPUSH {} e", "LRANGE {} 0 0", "LTRIM {} 1 -1", "EXPIRE {} 1"),
    }


def list_acceptance(at: Place) -> Uses:
    """What it takes to ask for a transfer, and to follow it."""
    keys, each = at.keys, at.each
    return {
        keys.record(each): ("HGETALL {}",),
        keys.call(each): ("EXISTS {}", "LINDEX {} 0", "LLEN {}", "LRANGE {} 0 0", "RPUSH {} e", *_EXPIRING),
        keys.idempotency(each): ("GET {}", "EXISTS {}", "SET {} v EX 1"),
        keys.open_ids: (*_ZSET, "EXISTS {}"),
        keys.kept: ("EXISTS {}",),
        keys.limits: ("HMGET {} f",),
        keys.limit(each, each): ("ZCOUNT {} 0 1", "ZADD {} 1 m", "ZREMRANGEBYSCORE {} 0 1", *_EXPIRING),
        at.queue: ("LPUSH {} e", "TYPE {}"),
    }


def list_reports(at: Place) -> Uses:
    """What it takes to report on a connection: whose request it is, and what nobody knows whose it is."""
    keys, each = at.keys, at.each
    return {
        keys.call(each): ("LRANGE {} 0 0",),
        keys.request(each): ("GET {}", "SET {} v EX 1"),
        keys.unmatched(each): (
            "EXISTS {}",
            "LRANGE {} 0 0",
            "RPUSH {} e",
            "LTRIM {} 0 9",
            "LREM {} 1 e",
            *_EXPIRING,
        ),
        keys.heard: ("HSET {} f v", *_EXPIRING),
        keys.statistics: ("HGET {} f",),
    }


def list_webhooks(at: Place) -> Uses:
    """What it takes to find whose a webhook is: calls by conversation, and what they were transferred to."""
    keys, each = at.keys, at.each
    return {
        keys.record(each): ("HGETALL {}",),
        keys.call(each): ("EXISTS {}",),
        keys.conversation(each): ("GET {}", "SET {} v EX 1"),
        keys.webhooks(each): ("LRANGE {} 0 0", "RPUSH {} e", "LTRIM {} 0 9", *_EXPIRING),
    }


def list_work_of_worker(at: Place) -> Uses:
    """What a worker does besides: it claims, keeps alive, sweeps, and writes the audit log."""
    keys, each = at.keys, at.each
    index = (*_ZSET, "ZRANGE {} 0 0", "ZRANGEBYSCORE {} 0 1", "ZSCORE {} m")
    older = ("ZRANGE {} 0 0", "ZREM {} m", "TYPE {}")
    uses: Uses = {
        **dict.fromkeys((keys.unknown, keys.workers, keys.gone), index),
        keys.open_ids: (*index, "ZREVRANGEBYSCORE {} 1 0"),
        **dict.fromkeys(keys.lists_of_an_older_version, older),
        keys.kept: ("PTTL {}", "SET {} v PX 1"),
        keys.record(each): ("HKEYS {}",),
        keys.ended(each, at.number): ("LRANGE {} 0 0", "RPOP {}"),
        keys.sight(each): ("GET {}", "SET {} v NX EX 1"),
        keys.worker(each): ("SET {} v PX 1", "EXISTS {}", "DEL {}"),
        keys.audit: (
            *("XLEN {}", "EXISTS {}", *_BACKLOG, "XTRIM {} MAXLEN 100", "TTL {}"),
            *("XGROUP CREATE {} g 0 MKSTREAM", "XGROUP DELCONSUMER {} g c", "XINFO CONSUMERS {} g"),
            *("XREADGROUP GROUP g c COUNT 1 STREAMS {} >", "XACK {} g 0-1", "XAUTOCLAIM {} g c 5000 0-0"),
        ),
        keys.audit_heads: ("HSET {} f v", "HDEL {} f", "HGETALL {}", "EXPIRE {} 1"),
        # Heartbeats renew what must not end by itself.
        keys.paused: _EXPIRING,
        keys.limits: ("HGETALL {}", "HSET {} f v", "DEL {}", *_EXPIRING),
        keys.polls: ("EXISTS {}", "ZRANGE {} 0 0", "ZCARD {}", *_ZSET),
        keys.poll_notes: ("HSET {} f v", "HGET {} f", "HDEL {} f", "HEXISTS {} f", *_EXPIRING),
        keys.sweep: ("HSET {} f v", "HGET {} f", "HMGET {} f", *_EXPIRING),
        keys.statistics: ("HSET {} f 1",),
        keys.quarantine: ("LRANGE {} 0 0", *_NEWEST_FIRST),
        at.queue: (
            "LPUSH {} e",
            "RPUSH {} e",
            "LINDEX {} 0",
            "LRANGE {} 0 0",
            "LREM {} -1 e",
            "EXISTS {}",
            "TYPE {}",
        ),
        keys.unacked: ("HDEL {} f", "HEXISTS {} f", "EXISTS {}", "TYPE {}"),
        keys.unacked_index: ("ZREM {} m", "TYPE {}"),
    }
    for priority in at.with_priorities(at.queue)[1:]:  # the sweep empties them into the one list
        uses[priority] = ("EXISTS {}", "TYPE {}", "LRANGE {} 0 0", "RPOP {}")
    return uses


def list_looks(at: Place) -> Uses:
    """What `status`, `show`, `list`, `tail`, the metrics and the like read."""
    keys, each = at.keys, at.each
    return {
        keys.record(each): ("HGETALL {}",),
        keys.call(each): ("LRANGE {} 0 0",),
        keys.ended(each, at.number): ("LLEN {}", "LRANGE {} 0 0"),
        keys.audit: (*_OUTBOX, *_BACKLOG),
        keys.quarantine: ("LRANGE {} 0 0",),
        keys.double_posts: ("LRANGE {} 0 0",),
        keys.paused: ("HGETALL {}",),
        keys.limits: ("HGETALL {}",),
        keys.heard: ("HGETALL {}",),
        keys.unmatched(each): ("LRANGE {} 0 0",),
        keys.worker(each): ("MGET {}",),
        keys.audit_heads: ("HLEN {}", "HGETALL {}"),
        keys.statistics: ("HGETALL {}",),
        keys.uncounted: ("LRANGE {} 0 0",),
        keys.statistics_slice(at.number): ("HGETALL {}",),
        keys.probe: ('SETRANGE {} 0 ""',),
        **dict.fromkeys(
            (keys.unknown, keys.workers, keys.gone),
            ("ZCARD {}", "ZRANGE {} 0 0"),
        ),
        keys.open_ids: ("ZCOUNT {} 0 1", "ZRANGEBYSCORE {} 0 1"),
        at.shared_unacked: ("TYPE {}", "HSCAN {} 0"),
    }


def list_acts(at: Place) -> Uses:
    """What operators change: pauses, the quarantine, calls moved twice, what is left behind or erased."""
    keys, each = at.keys, at.each
    return {
        keys.record(each): ("HKEYS {}",),
        keys.damaged(each): ("DEL {}",),
        keys.audit: ("XDEL {} 0-1", "TYPE {}"),
        keys.erased: ("ZADD {} 1 m", "ZREMRANGEBYSCORE {} 0 1", "EXPIRE {} 1", "TYPE {}"),
        keys.unacked: ("HSCAN {} 0", "HDEL {} f", "TYPE {}"),
        keys.unacked_index: ("ZREM {} m", "TYPE {}"),
        keys.paused: ("HSET {} f v", "HDEL {} f", "HEXISTS {} f", *_EXPIRING),
        keys.open_ids: ("ZRANGEBYSCORE {} 0 1",),
        keys.double_posts: ("LREM {} 1 e",),
        keys.quarantine: ("LPOS {} e", "LREM {} 1 e", "TYPE {}"),
        at.shared_unacked: ("HGET {} f", "HDEL {} f", "TYPE {}"),
        f"{at.shared_unacked}_index": ("ZREM {} m", "TYPE {}"),
        **dict.fromkeys(
            at.with_priorities(at.queue), ("LRANGE {} 0 0", "LREM {} 1 e", "RPUSH {} e", "TYPE {}")
        ),
    }


def list_audit_looks(at: Place) -> Uses:
    """What it takes to follow the audit log, and to verify its files."""
    keys = at.keys
    return {
        keys.audit: (*_OUTBOX, *_BACKLOG),
        keys.audit_heads: ("HLEN {}", "HGETALL {}"),
        keys.statistics: ("HGETALL {}",),
        keys.uncounted: ("LRANGE {} 0 0",),
        keys.workers: ("ZRANGE {} 0 0",),
        keys.worker(at.each): ("MGET {}",),
    }
