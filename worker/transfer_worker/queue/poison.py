"""Which elements of the queue can be served, and why others can't: pure, without Celery and Redis."""

from __future__ import annotations

import base64
import codecs
import json
from typing import Any, Final

from transfer_tasks.publisher.message import EMPTY_BODY, TASK_NAME
from transfer_worker.queue.qos import Element

MAX_ELEMENT_BYTES: Final = 256 * 1024
"""An intent has at most 32 KiB; what is far larger is not a message of ours."""

_PROTOCOL_2_PARTS: Final = 3


class Poison(Exception):
    """A queue message that can't be served.

    Attributes:
        task_id: Its task id, or an empty text.
    """

    def __init__(self, why: str, task_id: str = "") -> None:
        super().__init__(why)
        self.task_id = task_id


def read_element(element: bytes) -> Element:
    """Return a queue message as what a worker can serve.

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
        raise Poison("not JSON") from None
    if not isinstance(message, dict):
        raise Poison("not a JSON object")
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
    if not isinstance(properties, dict) or not _is_delivery_tag(properties.get("delivery_tag")):
        return "no delivery tag", task_id
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not {"exchange", "routing_key"} <= delivery.keys():
        return "no delivery info", task_id
    if message.get("content-type") != "application/json" or not _is_utf_8(message.get("content-encoding")):
        return "content type is not JSON in UTF-8", task_id
    return _find_body_poison(message.get("body"), properties.get("body_encoding")), task_id


def _is_delivery_tag(tag: Any) -> bool:
    """Whether kombu can use it as a field of `unacked`: text, or the whole number that AMQP has."""
    return isinstance(tag, str | int) and not isinstance(tag, bool)


def _is_utf_8(encoding: Any) -> bool:
    try:
        return isinstance(encoding, str) and codecs.lookup(encoding).name == "utf-8"
    except (LookupError, ValueError):
        return False


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
