"""Celery's way to Redis: with a guard at the door, and back quickly after an outage.

In kombu 5.7.0 a queue element that is no JSON ends the worker, an undecodable body is put back and ends every
restarted worker, and a missing delivery tag loses the message. So each element is looked at the moment it
arrives; what can't be a task message is handed to `on_poison`, and the next one is served.
"""

from __future__ import annotations

import base64
import json
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

from transfer_tasks.message import EMPTY_BODY, TASK_NAME
from transfer_worker.broker_address import bracket
from transfer_worker.deliveries import BellMessage, Element, GatheringQoS

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ELEMENT_BYTES: Final = 256 * 1024
"""An intent has at most 32 KiB; what is far larger is no message of ours."""

_PROTOCOL_2_PARTS: Final = 3
_REPLIES: Final = b".reply.celery.pidbox"


class Poison(Exception):
    """A queue element that can't be served.

    Attributes:
        task_id: Its task id, or an empty text.
    """

    def __init__(self, why: str, task_id: str = "") -> None:
        super().__init__(why)
        self.task_id = task_id


def read_element(element: bytes) -> Element:
    """Return a queue element as what a worker can serve.

    Args:
        element: What was taken from the list.

    Raises:
        Poison: It can't be served.
    """
    if len(element) > MAX_ELEMENT_BYTES:
        raise Poison(f"larger than {MAX_ELEMENT_BYTES} bytes")
    try:
        message = json.loads(element)
    except (ValueError, RecursionError):
        raise Poison("no JSON") from None
    if not isinstance(message, dict):
        raise Poison("no JSON object")
    why, task_id = _find_poison(message)
    if why:
        raise Poison(why, task_id)
    return Element(message, text=element.decode())


def _find_poison(message: dict[str, Any]) -> tuple[str, str]:
    """Return why a message can't be served, and its task id; the first is empty where it can."""
    headers, properties = message.get("headers"), message.get("properties")
    task_id = headers.get("id") if isinstance(headers, dict) else None
    if not isinstance(headers, dict) or not isinstance(task_id, str) or not task_id:
        return "no task id in the headers", ""
    if headers.get("task") != TASK_NAME:
        return f"unknown task name {str(headers.get('task'))[:80]!r}", task_id
    if not isinstance(properties, dict) or not isinstance(properties.get("delivery_tag"), str):
        return "no delivery tag", task_id
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not {"exchange", "routing_key"} <= delivery.keys():
        return "no delivery info", task_id
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        return "content type is not JSON in UTF-8", task_id
    return _find_body_poison(message.get("body"), properties.get("body_encoding")), task_id


def _find_body_poison(body: Any, encoding: Any) -> str:
    if body == EMPTY_BODY and encoding == "base64":
        return ""  # our publisher's own; nothing in it needs decoding
    if not isinstance(body, str):
        return "no body"
    try:
        text = base64.b64decode(body, validate=True).decode() if encoding == "base64" else body
        parts = json.loads(text)
    except (ValueError, RecursionError):
        return "undecodable body"
    shape = (list, dict, dict)
    if not isinstance(parts, list) or len(parts) != _PROTOCOL_2_PARTS:
        return "the body is not Celery's protocol 2"
    if not all(isinstance(part, kind) for part, kind in zip(parts, shape, strict=True)):
        return "the body is not Celery's protocol 2"
    arguments, named, _ = parts
    if not named.keys() <= {"intent"} or len(arguments) + len(named) > 1:
        return "arguments other than one intent"
    return ""


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
