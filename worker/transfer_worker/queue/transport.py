"""Celery's way to Redis: with a guard at the door, and back quickly after an outage.

In kombu 5.7.0 a message that is not JSON ends the worker, an undecodable body is put back and ends every
restarted worker, and a missing delivery tag loses the message. So each is looked at the moment it arrives
(`poison`); what can't be a task message is handed to `on_poison`, and the next one is served.

Each method here that replaces one of kombu's, Celery's or redis-py's says which, and why.
tests/contract/test_replaced_methods.py holds what is replaced as it was read: a new release fails there
first.
"""

from __future__ import annotations

import json
import logging
import math
import time
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, unquote

import redis
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport
from kombu.utils.json import loads
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from transfer_tasks.ledger.keys import NAMESPACE
from transfer_tasks.redis.clock import RedisClock
from transfer_worker.queue.address import bracket
from transfer_worker.queue.arrivals import Arrivals
from transfer_worker.queue.element import Element
from transfer_worker.queue.poison import Poison, check_word, read_element
from transfer_worker.queue.qos import GatheringQoS, QueueMessage

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROL_EXCHANGE: Final = f"{NAMESPACE}.control"
"""Where `celery inspect` and Flower ask our workers; by default all applications are asked at one address."""

EVENT_EXCHANGE: Final = f"{NAMESPACE}.events"
"""Where our workers tell Flower what happens."""

_REPLIES: Final = f".reply.{CONTROL_EXCHANGE}.pidbox".encode()


class _GuardedClient(redis.Redis):
    """Looks at each element that BRPOP brings before kombu does."""

    def pubsub(self, **options: Any) -> PubSub:
        """Return our listener, where redis-py's `Redis.pubsub` returns its own."""
        return _Listener(self.connection_pool, **options)

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Return the reply with the message read, or None (as if nothing had come) where it is poison.

        Replaces redis-py's `Redis.parse_response`, by which kombu's channel takes what BRPOP brings: the one
        point that each message passes before kombu reads it.
        """
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not reply:
            return reply
        queue, element = reply
        # Flower and `celery inspect` read the workers' answers with the same client; those are no tasks.
        if (queue if isinstance(queue, bytes) else queue.encode()).endswith(_REPLIES):
            return reply
        name = queue.decode() if isinstance(queue, bytes) else queue
        element = element if isinstance(element, bytes) else element.encode()
        try:
            read = read_element(element, queue=name)
        except Poison as poison:
            GuardedChannel.on_poison(element, str(poison), poison.task_id)
            return None
        if GuardedChannel.turn_away(read):
            return None
        GuardedChannel.arrivals.note(read)
        return queue, read


class _Listener(PubSub):
    """Redis-py's listener to words, which asks once each time whether anybody still speaks."""

    def check_health(self) -> None:
        """Ask, but not again before there can be an answer.

        By redis-py's `PubSub.check_health`, kombu's timer asks, and what reads the answer asks once more.
        """
        connection: Any = self.connection
        interval, now = connection.health_check_interval, time.monotonic()
        if now - self._asked_at >= interval / 2:
            self._asked_at = now
            super().check_health()

    _asked_at = -math.inf


def _log_poison(element: bytes, why: str, task_id: str) -> None:
    logging.getLogger(__name__).error("poison: %s (%d bytes, task id %r)", why, len(element), task_id)


class GuardedChannel(Channel):
    """kombu's channel, reading through the guard.

    Attributes:
        on_poison: Called with the element, why it can't be served, and its task id or an empty text.
        turn_away: Called with each message; whether it has ended already, and nobody need carry it out.
        arrivals: What the order of messages says of their age.
        clock: Redis's, by which it is judged how long a message is unacknowledged.
        do_restore: Off. When a connection breaks, kombu 5.7.0 would give the messages of running tasks back,
            to be run twice at the same time; where Redis is still away, it would end the worker in trying.
            Recovery gives back what is really nobody's.
    """

    QoS = GatheringQoS
    Message = QueueMessage
    do_restore = False

    arrivals: ClassVar = Arrivals()
    clock: ClassVar = RedisClock()

    def _brpop_start(self, timeout: Any = None) -> None:
        """Ask for the next message, as kombu's `Channel._brpop_start`, knowing what is known until now."""
        self.arrivals.note_asking()
        super()._brpop_start(timeout)  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> bool:
        """Take the next message; kombu's `Channel._brpop_read` would read its JSON a second time."""
        try:
            try:
                reply = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not reply:
                raise Empty
            queue, element = reply
            name = queue.decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(name)
            message = element if isinstance(element, Element) else loads(element)  # type: ignore[no-untyped-call]
            self.connection._deliver(message, name)  # noqa: SLF001 - as kombu does
            return True
        finally:
            self._in_poll: Any = None
            self._flush_brpop_reauth()  # type: ignore[no-untyped-call]

    def _deliver_fanout_message(self, message: Any, exchange: str) -> Any:
        """Hand over a word of the remote control; in reading some, kombu's `Channel._deliver_fanout_message`
        would end the worker.
        """
        try:
            check_word(message)
        except Poison as poison:
            GuardedChannel.on_poison(json.dumps(message).encode(), f"on {exchange}: {poison}", "")
            return False
        return super()._deliver_fanout_message(message, exchange)  # type: ignore[no-untyped-call]

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge; on a channel whose connection has gone, leave it to the visibility-timeout fallback.

        There kombu's `Channel.basic_ack` raises AttributeError, which ends the worker. The message comes
        again after the visibility timeout, and finds its transfer ended.
        """
        if self.connection is not None:
            super().basic_ack(delivery_tag, multiple=multiple)  # type: ignore[no-untyped-call]

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject; as `basic_ack`, where kombu's `Channel.basic_reject` would end the worker."""
        if self.connection is not None:
            super().basic_reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]

    turn_away: ClassVar[Callable[[Element], bool]] = staticmethod(lambda _: False)

    on_poison: ClassVar[Callable[[bytes, str, str], None]] = staticmethod(_log_poison)

    _shared_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client for all commands but the blocking read.

        kombu's `Channel._create_client` makes a new one for each command; with redis-py 8.1 that costs more
        than the command.
        """
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._shared_client is None or self._shared_client.connection_pool is not self.pool:
            self._shared_client = super()._create_client()  # type: ignore[no-untyped-call]
        return self._shared_client

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Return how Redis is connected to.

        By kombu's `Channel._connparams`, redis-py asks before each command of a timer whether the connection
        lives; the command itself finds out as soon. What waits for messages and words has timers of kombu's.
        """
        options: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        return options if asynchronous else {**options, "health_check_interval": 0}

    def _get_client(self) -> type[redis.Redis]:
        """Return the client with the guard, where kombu's `Channel._get_client` names its own."""
        super()._get_client()  # type: ignore[no-untyped-call]
        return _GuardedClient


class GuardedTransport(Transport):
    """Set as Celery's `broker_transport`.

    Attributes:
        connection_errors: What Celery answers by connecting again. A Redis that refuses (read-only after a
            failover, out of memory) is one to come back to; by default it ends the worker.
    """

    Channel = GuardedChannel
    connection_errors = (*Transport.connection_errors, redis.exceptions.ResponseError)


class GuardedSentinelChannel(GuardedChannel, SentinelChannel):
    """The same guard, in front of the primary that Sentinels name."""

    sentinel_kwargs: dict[str, Any]

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        """Ask a Sentinel once, and then the next.

        kombu's `SentinelChannel._sentinel_managed_pool` leaves it to redis-py 8.1, which tries a dead one
        four times.
        """
        self.sentinel_kwargs = {**self.sentinel_kwargs, "retry": Retry(NoBackoff(), 0)}
        return super()._sentinel_managed_pool(asynchronous)  # type: ignore[no-untyped-call]


class GuardedSentinelTransport(GuardedTransport, SentinelTransport):
    """Set as Celery's `broker_transport` where the address is one of Sentinels."""

    Channel = GuardedSentinelChannel


class QuickConnection(Connection):
    """kombu's connection, back soon after an outage."""

    def switch(self, conn_str: str) -> None:
        """Turn to another Sentinel, and keep the guard; kombu's `Connection.switch` would lose it."""
        super().switch(conn_str)  # type: ignore[no-untyped-call]
        self.transport_cls = self._initial_params["transport"]

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connect, trying again after 0.1, 0.3, 0.5 s and so on every half second.

        kombu's `Connection.ensure_connection` waits 2, 4, 6 … 30 s, with a caller on the line.
        """
        quick = {"interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
        return super().ensure_connection(*arguments, **{**quick, **options})  # type: ignore[no-untyped-call]

    def as_uri(self, *arguments: Any, **options: Any) -> str:
        """Return the broker's URL under the scheme that people know, which is all that Flower can read.

        kombu's `Connection.as_uri` shows the transport's dotted name, and quotes the colons of an IPv6 host.
        """
        shown: str = super().as_uri(*arguments, **options)
        before, host, after = shown.rpartition(quote(self.hostname or "", safe=""))
        shown = f"{before}{bracket(unquote(host))}{after}"
        scheme = "rediss" if self.ssl else "redis"
        if isinstance(self.transport, SentinelTransport):
            scheme = "sentinel"
        return scheme + shown[shown.index("://") :]


class QuickAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Set as the Celery app's `amqp`."""

    Connection = QuickConnection
