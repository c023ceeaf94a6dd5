"""What reaches the queue past every publisher: messages of producers that only have Celery, and poison."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from typing import TYPE_CHECKING, Final

import redis

from transfer_tasks.publisher.message import build_message

if TYPE_CHECKING:
    from transfer_tasks.intent import TransferIntent

QUEUE: Final = "transfers"

POISON: Final = (
    b"not JSON at all",
    b"[1, 2, 3]",
    b'{"body": "!!", "headers": {"task": "transfer_tasks.transfer_call"}, "properties": {}}',
    b"\xff\xfe\x00" * 100,
    b"{" * 5000,
)


class BareQueue:
    """The queue's list, straight on Redis."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=1.0)

    async def push(self, element: str | bytes) -> str:
        """Put an element on the queue; say whether it is there."""
        try:
            await asyncio.to_thread(self._client.lpush, QUEUE, element)
        except redis.ConnectionError:
            return "unavailable"
        except redis.RedisError:
            return "answer_lost"
        return "sent"

    def close(self) -> None:
        self._client.close()


def build_celery_message(intent: TransferIntent) -> str:
    """Return the element that Celery's own `send_task` would put on the queue."""
    message = json.loads(
        build_message(transfer_id=intent.transfer_id, call_id=intent.call_id, labels={}, queue=QUEUE)
    )
    asked = json.loads(intent.to_json())
    body = [[], {"intent": asked}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    message["properties"]["delivery_tag"] = str(uuid.uuid4())
    return json.dumps(message)
