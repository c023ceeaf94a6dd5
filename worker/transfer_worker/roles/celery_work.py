"""What kombu 5.7 does to Redis: the queue, what is under way, the words of workers, operators and Flower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from transfer_worker.queue.transport import CONTROL_EXCHANGE, EVENT_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transfer_worker.roles.work import Command, Place, Uses

MAILBOX: Final = f"{CONTROL_EXCHANGE}.pidbox"
_OF_A_SPEAKER: Final = ("LPUSH {} e", "DEL {}", "LLEN {}", "EXISTS {}", "PEXPIRE {} 1")
_OF_A_LISTENER: Final = ("BRPOP {} 1", *_OF_A_SPEAKER)


def list_consuming(at: Place) -> Uses:
    """What a worker does: it takes messages, keeps those that it has not acknowledged, and answers."""
    keys = at.keys
    return {
        **dict.fromkeys(at.with_priorities(at.queue), ("BRPOP {} 1", "LLEN {}", "LPUSH {} e", "RPUSH {} e")),
        keys.unacked: ("HSET {} f v", "HGET {} f", "HDEL {} f"),
        keys.unacked_index: ("ZADD {} 1 m", "ZREM {} m", "ZRANGEBYSCORE {} 0 1 LIMIT 0 10"),
        keys.unacked_mutex: ("SET {} v NX PX 1", "GET {}", "DEL {}", "PEXPIRE {} 1"),
        # Its own, and those of who asks, whose names end alike.
        **dict.fromkeys(at.with_priorities(f"{at.each}.{MAILBOX}"), _OF_A_SPEAKER),
        **dict.fromkeys(at.with_priorities(f"{at.each}.reply.{MAILBOX}"), _OF_A_SPEAKER),
        **_list_bindings(at),
    }


def list_asking(at: Place) -> Uses:
    """What `celery inspect` and Flower do: they ask workers, and take the answers from a list."""
    answers = at.with_priorities(f"{at.each}.reply.{MAILBOX}")
    return {**dict.fromkeys(answers, _OF_A_LISTENER), **_list_bindings(at)}


def list_watching(at: Place) -> Uses:
    """What Flower does besides: it hears events, shows how long the queue is, and forgets what is erased."""
    return {
        at.keys.erased: ("ZRANGEBYSCORE {} 0 1",),
        **dict.fromkeys(at.with_priorities(f"celeryev.{at.each}"), _OF_A_LISTENER),
        **dict.fromkeys(at.with_priorities(at.queue), ("LLEN {}",)),
    }


def _list_bindings(at: Place) -> Uses:
    """Who hears what. Whoever listens for a while also sweeps what others have left, neighbours included."""
    return {
        f"_kombu.binding.{at.each}": ("SADD {} m", "SREM {} m", "SMEMBERS {}", "DEL {}"),
        f"_kombu.binding_permanent.{at.each}": ("SADD {} m", "SREM {} m", "SMEMBERS {}", "EXISTS {}"),
        "_kombu.binding_deadlines": ("ZADD {} 1 m", "ZREM {} m", "ZRANGEBYSCORE {} 0 1"),
    }


def list_words(at: Place) -> Iterable[Command]:
    """What workers, operators and Flower say to each other and hear."""
    yield "PUBLISH", f"/{at.database}.{MAILBOX}", ""
    yield "PSUBSCRIBE", f"/{at.database}.{MAILBOX}"
    yield "PUNSUBSCRIBE", f"/{at.database}.{MAILBOX}"


def list_events(at: Place) -> Iterable[Command]:
    """What workers tell of themselves and of tasks."""
    for kind in at.event_kinds:
        yield "PUBLISH", f"/{at.database}.{EVENT_EXCHANGE}/{kind}", ""
