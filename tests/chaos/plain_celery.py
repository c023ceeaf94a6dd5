"""What reaches the queue past every publisher: messages of a producer that only has Celery, and poison."""

from __future__ import annotations

import functools
import random
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import redis
from celery import Celery, signature
from kombu.exceptions import OperationalError

from chaos.faults import now_ms
from chaos.history import Ask
from chaos.sessions import NUMBERS
from transfer_tasks.outcome import Reason
from transfer_tasks.publisher.message import TASK_NAME
from transfer_worker.queue.transport import CONTROL_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUEUE: Final = "transfers"
SOMEBODY_ELSES: Final = "somebody_elses"
SOCKET_SECONDS: Final = 1.0

POISON: Final = (
    b"not JSON at all",
    b"[1, 2, 3]",
    b'{"body": "!!", "headers": {"task": "transfer_tasks.transfer_call"}, "properties": {}}',
    b"\xff\xfe\x00" * 100,
    b"{" * 5000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to send a transfer by Celery alone.

    Attributes:
        weight: How often it is chosen, against the others.
        options: What `send_task` is given.
        intent: Added to the intent.
        seconds: After so long nothing may be sent for it any more.
        must: What a worker has to refuse it for; None if it is to be carried out.
        may: What a worker may refuse it for.
    """

    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    intent: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    must: Reason | None = None
    may: frozenset[Reason] = frozenset()


WAYS: Final = {
    "expires": Way(weight=5, options={"expires": 8}, seconds=8),
    "short": Way(weight=2, options={"expires": 2}, seconds=2),
    "countdown": Way(weight=2, options={"countdown": 2, "expires": 12}, seconds=12),
    # How long it has lain there is known only where somebody has seen what lay before it.
    "no_deadline": Way(
        weight=2, intent={"expires_in_seconds": 10}, seconds=10, may=frozenset({Reason.DEADLINE_UNKNOWN})
    ),
    "revoked": Way(options={"expires": 8}, seconds=8, may=frozenset({Reason.CANCELLED_BY_OPERATOR})),
    "same_id": Way(options={"expires": 8}, seconds=8),
    "far_ahead": Way(options={"countdown": 120, "expires": 250}, must=Reason.ETA_NOT_SUPPORTED),
    "canvas": Way(options={"expires": 60}, must=Reason.CANVAS_NOT_SUPPORTED),
    "garbage": Way(options={"headers": {"expires": "garbage"}}, must=Reason.INVALID_INTENT),
}
"""By the word that the log has for each."""


class PlainProducer:
    """A steady stream of plain messages and some poison, on a thread of its own.

    Args:
        url: Redis's address.
        seed: Where every decision comes from.
        per_second: Messages a second; none at 0.
        seconds: How long it goes on.

    Attributes:
        asks: What was sent, and whether Redis has it.
    """

    def __init__(self, url: str, *, seed: int, per_second: float, seconds: float) -> None:
        self.asks: list[Ask] = []
        self._chance = random.Random(f"{seed}/plain")
        self._gap_seconds = 1 / per_second if per_second else 0.0
        self._count = int(seconds * per_second)
        self._app = Celery("producer", broker=url, set_as_current=False)
        self._app.conf.update(
            control_exchange=CONTROL_EXCHANGE,
            broker_transport_options={
                "socket_timeout": SOCKET_SECONDS,
                "socket_connect_timeout": SOCKET_SECONDS,
            },
        )
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plain-producer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and let go of the connections."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._app.close()

    def _run(self) -> None:
        for _ in range(self._count):
            if self._ending.wait(self._gap_seconds):
                return
            name = self._chance.choices([*WAYS, "poison"], [*(way.weight for way in WAYS.values()), 1])[0]
            if name == "poison":
                element = self._chance.choice(POISON)
                self._ask("poison", "", functools.partial(self._push, element))
                continue
            task_id = self._make_uuid()
            self._send(name, task_id)
            if name == "same_id":
                self._send(name, task_id)  # another call, and maybe another number

    def _send(self, name: str, task_id: str) -> None:
        way, number, call_id = WAYS[name], self._chance.choice(NUMBERS), self._make_uuid()
        intent = {"call_id": call_id, "destination": f"+{number}", **way.intent}
        options = {"task_id": task_id, "queue": QUEUE, "retry": False, **way.options}
        if name == "canvas":
            options["link"] = signature("other.task", app=self._app).set(queue=SOMEBODY_ELSES)
        if name == "revoked":
            self._ask("revoke", name, lambda: self._app.control.revoke([task_id]), transfer_id=task_id)
        self._ask(
            "celery",
            name,
            lambda: self._app.send_task(TASK_NAME, kwargs={"intent": intent}, **options),
            transfer_id=task_id,
            call_id=call_id,
            to=number,
        )

    def _push(self, element: bytes) -> None:
        with self._app.connection_for_write() as connection, connection.channel() as channel:
            channel.client.lpush(QUEUE, element)

    def _ask(self, action: str, about: str, send: Callable[[], object], **fields: str) -> None:
        at_ms, reply = now_ms(), "sent"
        try:
            send()
        except (OperationalError, redis.RedisError, OSError):
            reply = "answer_lost"
        ended_ms = now_ms()
        seconds = WAYS[about].seconds if about in WAYS else 0.0
        self.asks.append(
            Ask(
                at_ms=at_ms,
                answered_ms=ended_ms,
                who="celery",
                action=action,
                reply=reply,
                about=about,
                expires_ms=ended_ms + seconds * 1000 if seconds else 0.0,
                **{"transfer_id": "", **fields},
            )
        )

    def _make_uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
