"""kombu's registry of unacknowledged messages, written beside the work instead of before it.

kombu 5.7.0 stops at each message to enter it in `unacked` before it hands it over, and again to remove it.
Here both are gathered and written together, in one round trip for all::

    BRPOP ─▶ to the pool, at once      entered ─┐            acknowledged ─┐
      |<------------- at most GATHER_SECONDS -->|    … at most as long ... |

Who dies within that time leaves no entry for what it had fetched. That loses nothing: the transfer is on
record as waiting or claimed, and recovery redelivers it (`recover.lua`, "message_lost" and "worker_died"). A
message that is all there is of its transfer, from a producer that only has Celery, is entered at once, as
ever.

Each method here that replaces one of kombu's says which, and why; tests/contract/test_replaced_methods.py
holds what is replaced as it was read.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import redis
from kombu.asynchronous import get_event_loop
from kombu.transport import virtual
from kombu.transport.redis import Mutex, MutexHeld, QoS

from transfer_tasks.publisher.message import EMPTY_BODY
from transfer_worker.queue.element import Element

if TYPE_CHECKING:
    from transfer_tasks.redis.clock import RedisClock

GATHER_SECONDS: Final = 0.5
"""Most transfers have ended by then, and need no note at all."""

_EMPTY_JSON: Final = base64.b64decode(EMPTY_BODY)


class QueueMessage(virtual.Message):
    """kombu's message, with what the door has read of it, and nothing else.

    Replaces kombu's `virtual.Message`, which hands on all that a producer wrote and decodes every body.

    Attributes:
        is_notification: Whether it only says that there is something on record to do.
    """

    def __init__(self, payload: Any, channel: Any = None, **options: Any) -> None:
        element = payload if isinstance(payload, Element) else None
        self.is_notification = element is not None and element.plain is None
        read = element.as_seen_by_celery() if element else payload
        super().__init__(read, channel=channel, **options)  # type: ignore[no-untyped-call]
        if element:
            # What goes back to the queue, if it has to, is what came from there.
            self._raw, self.body = payload, _EMPTY_JSON
            plain = element.plain
            self._decoded_cache = [plain.arguments, plain.named, {}] if plain else [[], {}, {}]


_ANSWERS: Final = ".pidbox"
"""How kombu 5.7.0 ends the names of queues on which answers to remote control come."""


class GatheringQoS(QoS):
    """kombu's unacknowledged deliveries of one channel; used by the event loop's thread only."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._to_enter: dict[str, Any] = {}
        self._to_remove: list[str] = []
        self._is_write_due = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a delivery on; the entry in Redis, which kombu's `QoS.append` waits for, follows."""
        virtual.QoS.append(self, message, delivery_tag)  # type: ignore[no-untyped-call]
        self._to_enter[delivery_tag] = message
        if not message.is_notification or not self._set_timer():
            self.write()

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Give back what was fetched too long ago by Redis's clock; kombu's `QoS.restore_visible` asks ours.

        Of two workers whose clocks differ, one would take the other's messages while it works on them. Who
        only waits for answers (Flower, `celery inspect`) takes no transfers, and gives none back.
        """
        if all(queue.endswith(_ANSWERS) for queue in self.channel.active_queues):
            return
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        oldest = self._read_clock() - self.visibility_timeout
        if self.channel.arrivals.empty_ms / 1000 > oldest:
            return  # a heartbeat has seen since then that nothing was unacknowledged
        page = {"min": 0, "max": oldest, "start": start or 0, "num": num or -1}
        with self.channel.conn_or_acquire() as client, suppress(MutexHeld):
            if not client.zrangebyscore(self.unacked_index_key, **page):
                return
            with Mutex(client, self.unacked_mutex_key, self.unacked_mutex_expire):
                old = client.zrangebyscore(self.unacked_index_key, **page)
                for tag in old:
                    self.restore_by_tag(tag, client)  # type: ignore[no-untyped-call]

    def _read_clock(self) -> float:
        """Return Redis's time in seconds. A worker's heartbeats keep it known; Flower has none."""
        clock: RedisClock = self.channel.clock
        if not clock.is_known:
            with self.channel.conn_or_acquire() as client:
                asked_at = clock.monotonic()
                clock.note_time(client.time(), asked_at=asked_at)
        return clock.now_ms() / 1000

    def ack(self, delivery_tag: str) -> None:
        """Let a delivery go; its entry in Redis is removed soon, which kombu's `QoS.ack` waits for."""
        if not self._set_timer():
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
            return
        virtual.QoS.ack(self, delivery_tag)  # type: ignore[no-untyped-call]
        if self._to_enter.pop(delivery_tag, None) is None:
            self._to_remove.append(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject; kombu's `QoS.reject` needs the entry of a message that it gives back."""
        self.write()
        super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Write what is left, if Redis is there; kombu's `QoS.restore_unacked_once` ends the channel."""
        with suppress(redis.RedisError, OSError):
            self.write()
        super().restore_unacked_once(stderr)  # type: ignore[no-untyped-call]

    def write(self) -> None:
        """Write what has been gathered, in one round trip."""
        self._is_write_due = False
        to_enter, self._to_enter = self._to_enter, {}
        to_remove, self._to_remove = self._to_remove, []
        transport = self.channel.connection
        # Gone, or (while kombu collects a broken connection) half gone: recovery and the visibility timeout
        # take over.
        if not (to_enter or to_remove) or transport is None or transport.client is None:
            return
        with self.pipe_or_acquire() as pipe:
            if to_enter:
                pipe.zadd(self.unacked_index_key, dict.fromkeys(to_enter, self._read_clock()))
                pipe.hset(self.unacked_key, mapping={tag: _entry(of) for tag, of in to_enter.items()})
            if to_remove:
                pipe.zrem(self.unacked_index_key, *to_remove)
                pipe.hdel(self.unacked_key, *to_remove)
            pipe.execute()

    def _set_timer(self) -> bool:
        """See to it that `write` is called soon; say whether there is a loop that will."""
        if self._is_write_due:
            return True
        hub = get_event_loop()
        if hub is None:
            return False
        hub.call_later(GATHER_SECONDS, self.write)  # type: ignore[no-untyped-call]
        self._is_write_due = True
        return True


def _entry(message: Any) -> str:
    """Return what kombu 5.7.0 itself writes: the message, the exchange and the routing key."""
    delivery = message.delivery_info
    exchange, routing_key = json.dumps(delivery["exchange"]), json.dumps(delivery["routing_key"])
    return f"[{message._raw.text}, {exchange}, {routing_key}]"  # noqa: SLF001 - as kombu does
