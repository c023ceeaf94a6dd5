"""Celery's way to Redis: with a guard at the door, and back quickly after an outage.

In kombu 5.7.0 a queue element that is no JSON ends the worker, an undecodable body is put back and ends every
restarted worker, and a missing delivery tag loses the message. So each element is looked at the moment it
arrives; what can't be a task message is handed to `on_poison`, and the next one is served.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote, unquote

import redis
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport
from kombu.utils.json import loads
from redis.backoff import NoBackoff
from redis.retry import Retry

from transfer_worker.queue.address import bracket
from transfer_worker.queue.poison import Poison, read_element
from transfer_worker.queue.qos import BellMessage, Element, GatheringQoS

if TYPE_CHECKING:
    from collections.abc import Callable

_REPLIES: Final = b".reply.celery.pidbox"


class _GuardedClient(redis.Redis):
    """Looks at each element that BRPOP brings before kombu does."""

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        """Return the reply with the element read, or None (as if nothing had come) where it is poison."""
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not reply:
            return reply
        queue, element = reply
        # Flower and `celery inspect` read the workers' answers with the same client; those are no tasks.
        if (queue if isinstance(queue, bytes) else queue.encode()).endswith(_REPLIES):
            return reply
        try:
            return queue, read_element(element if isinstance(element, bytes) else element.encode())
        except Poison as poison:
            GuardedChannel.on_poison(element, str(poison), poison.task_id)
            return None


def _log_poison(element: bytes, why: str, task_id: str) -> None:
    logging.getLogger(__name__).error("poison: %s (%d bytes, task id %r)", why, len(element), task_id)


class GuardedChannel(Channel):
    """kombu's channel, reading through the guard.

    Attributes:
        on_poison: Called with the element, why it can't be served, and its task id or an empty text.
        do_restore: Off. When a connection breaks, kombu 5.7.0 would give the messages of running tasks back,
            to be run twice at the same time; where Redis is still away, it would end the worker in trying.
            Recovery gives back what is really nobody's.
    """

    QoS = GatheringQoS
    Message = BellMessage
    do_restore = False

    def _brpop_read(self, **options: Any) -> bool:
        """As kombu 5.7.0 does it, but for reading the element's JSON a second time."""
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

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge; on a channel whose connection has gone, leave it to the outer net.

        There kombu 5.7.0 raises AttributeError, which ends the worker. The message comes again after the
        visibility timeout, and finds its transfer ended.
        """
        if self.connection is not None:
            super().basic_ack(delivery_tag, multiple=multiple)  # type: ignore[no-untyped-call]

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject; on a channel whose connection has gone, leave it to the outer net."""
        if self.connection is not None:
            super().basic_reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]

    on_poison: ClassVar[Callable[[bytes, str, str], None]] = staticmethod(_log_poison)

    _shared_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client for all commands but the blocking read.

        kombu 5.7.0 makes a new one for each; with redis-py 8.1 that costs more than the command.
        """
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._shared_client is None or self._shared_client.connection_pool is not self.pool:
            self._shared_client = super()._create_client()  # type: ignore[no-untyped-call]
        return self._shared_client

    def _get_client(self) -> type[redis.Redis]:
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
        """Ask a Sentinel once, and then the next; by default redis-py 8.1 tries a dead one four times."""
        self.sentinel_kwargs = {**self.sentinel_kwargs, "retry": Retry(NoBackoff(), 0)}
        return super()._sentinel_managed_pool(asynchronous)  # type: ignore[no-untyped-call]


class GuardedSentinelTransport(GuardedTransport, SentinelTransport):
    """Set as Celery's `broker_transport` where the address is one of Sentinels."""

    Channel = GuardedSentinelChannel


class QuickConnection(Connection):
    """Tries again soon. By default kombu 5.7.0 waits 2, 4, 6 … 30 s, with a caller on the line."""

    def switch(self, conn_str: str) -> None:
        """Turn to another Sentinel, and keep the guard: kombu 5.7.0 would take the URL's own transport."""
        super().switch(conn_str)  # type: ignore[no-untyped-call]
        self.transport_cls = self._initial_params["transport"]

    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        """Connect, trying again after 0.1, 0.3, 0.5 s and so on every half second."""
        quick = {"interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}
        return super().ensure_connection(*arguments, **{**quick, **options})  # type: ignore[no-untyped-call]

    def as_uri(self, *arguments: Any, **options: Any) -> str:
        """Return the broker's URL under the scheme that people know, which is all that Flower can read."""
        shown: str = super().as_uri(*arguments, **options)
        before, host, after = shown.rpartition(quote(self.hostname or "", safe=""))
        shown = f"{before}{bracket(unquote(host))}{after}"  # kombu 5.7.0 quotes the colons of an IPv6 one
        scheme = "rediss" if self.ssl else "redis"
        if isinstance(self.transport, SentinelTransport):
            scheme = "sentinel"
        return scheme + shown[shown.index("://") :]


class QuickAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Set as the Celery app's `amqp`."""

    Connection = QuickConnection
