"""Which messages of the queue can be served, and why others can't: pure, without Celery and Redis."""

from __future__ import annotations

import base64
import codecs
import json
import zlib
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from transfer_tasks.intent.fields import Uuid
from transfer_tasks.masking import mask_text
from transfer_tasks.publisher.message import EMPTY_BODY, REPORT_TASK_NAME, TASK_NAME
from transfer_worker.queue.element import Element, PlainFacts

MAX_ELEMENT_BYTES: Final = 256 * 1024
"""An intent has at most 32 KiB; what is far larger is no message of ours. A body that is compressed counts as
what it becomes."""

_PROTOCOL_2_PARTS: Final = 3
_CANVAS: Final = ("chain", "callbacks", "errbacks", "chord", "group")
# kombu 5.7.0 writes zlib's format under the first of these names for `gzip` and `zlib` alike.
_COMPRESSIONS: Final = frozenset({"application/x-gzip", "gzip", "zlib"})
_EITHER_FORMAT: Final = zlib.MAX_WBITS | 32
_UUID: Final = TypeAdapter(Uuid)


class Poison(Exception):
    """A queue element that can't be served.

    Attributes:
        task_id: Its task id in the canonical spelling; an empty text where it has none that is a UUID.
    """

    def __init__(self, why: str, task_id: str = "") -> None:
        super().__init__(why)
        self.task_id = task_id


def read_element(element: bytes, *, queue: str) -> Element:
    """Return a queue message as what a worker can serve.

    Args:
        element: What was taken from the list.
        queue: The list's name.

    Raises:
        Poison: It can't be served.
    """
    if len(element) > MAX_ELEMENT_BYTES:
        raise Poison(f"larger than {MAX_ELEMENT_BYTES} bytes")
    try:
        text = element.decode()
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Poison("not JSON") from None
    if not isinstance(message, dict):
        raise Poison("not a JSON object")
    task_id = _read_task_id(message)
    try:
        _check_envelope(message)
        plain = _read_plain(message)
    except Poison as poison:
        # A report is no transfer, so it gets no outcome.
        raise Poison(
            str(poison), "" if message["headers"].get("task") == REPORT_TASK_NAME else task_id
        ) from None
    task = message["headers"]["task"]
    return Element(message, text=text, queue=queue, task=task, task_id=task_id, plain=plain)


def check_word(message: Any) -> None:
    """Look at a word of the remote control, or of the workers' events, before kombu does.

    Raises:
        Poison: kombu 5.7.0 would end the worker in reading it.
    """
    if not isinstance(message, dict):
        raise Poison("not a JSON object")
    properties = message.get("properties")
    if not isinstance(properties, dict) or not _is_delivery_tag(properties.get("delivery_tag")):
        raise Poison("no delivery tag")
    if not isinstance(properties.get("delivery_info") or {}, dict):
        raise Poison("no delivery info")
    if not isinstance(message.get("headers") or {}, dict):
        raise Poison("headers without names")
    encoding = properties.get("body_encoding")
    if not isinstance(encoding, str | None) or encoding not in {None, "utf-8", "base64"}:
        raise Poison("undecodable body")
    try:
        _decode(message.get("body"), encoding)
    except ValueError:
        raise Poison("undecodable body") from None


def _read_task_id(message: dict[str, Any]) -> str:
    headers = message.get("headers")
    if not isinstance(headers, dict) or "id" not in headers:
        _check_protocol_1(message)
        raise Poison("no task id in the headers")
    task_id = _read_uuid(headers["id"])
    if not task_id:
        raise Poison("the task id is not a UUID")
    return task_id


def _read_uuid(value: object) -> str:
    """Return a UUID in its canonical spelling, or an empty text: the id becomes a transfer's, and a key's."""
    try:
        return _UUID.validate_python(value)
    except ValidationError:
        return ""


def _check_protocol_1(message: dict[str, Any]) -> None:
    properties = message.get("properties")
    encoding = properties.get("body_encoding") if isinstance(properties, dict) else None
    try:
        body = json.loads(_decode(message.get("body"), encoding))
    except (Poison, ValueError, RecursionError):
        return
    if isinstance(body, dict) and {"task", "id"} <= body.keys():
        raise Poison(
            "Celery's task protocol 1, which is not served; set task_protocol = 2 at the producer",
            _read_uuid(body["id"]),
        )


def _check_envelope(message: dict[str, Any]) -> None:
    headers, properties = message["headers"], message.get("properties")
    if headers.get("task") not in (
        TASK_NAME,
        REPORT_TASK_NAME,
    ):  # of which anything may be compared to a text
        raise Poison(f"unknown task name {mask_text(str(headers.get('task'))[:80])!r}")
    if not isinstance(properties, dict) or not _is_delivery_tag(properties.get("delivery_tag")):
        raise Poison("no delivery tag")
    delivery = properties.get("delivery_info")
    if not isinstance(delivery, dict) or not {"exchange", "routing_key"} <= delivery.keys():
        raise Poison("no delivery info")
    if message.get("content-type") != "application/json" or not _is_utf_8(message.get("content-encoding")):
        raise Poison("content type is not JSON in UTF-8")


def _is_delivery_tag(tag: Any) -> bool:
    """Whether kombu can use it as a field of `unacked`: text, or the whole number that AMQP has."""
    return isinstance(tag, str | int) and not isinstance(tag, bool)


def _is_utf_8(encoding: Any) -> bool:
    try:
        return isinstance(encoding, str) and codecs.lookup(encoding).name == "utf-8"
    except (LookupError, ValueError):
        return False


def _read_plain(message: dict[str, Any]) -> PlainFacts | None:
    """Return what plain Celery asks for; None where what is asked is on record."""
    headers, properties = message["headers"], message["properties"]
    body, encoding, compression = (
        message.get("body"),
        properties.get("body_encoding"),
        headers.get("compression"),
    )
    is_report = headers["task"] == REPORT_TASK_NAME
    if body == EMPTY_BODY and encoding == "base64" and not compression and not is_report:
        return None  # our publisher's own; nothing in it needs decoding
    arguments, named, embedded = _read_body(
        body, encoding, compression, asked="report" if is_report else "intent"
    )
    if not arguments and not named:
        if is_report:
            raise Poison("a report that says nothing")
        return None
    delivery = properties["delivery_info"]
    return PlainFacts(
        arguments=arguments,
        named=named,
        expires=headers.get("expires"),
        eta=headers.get("eta"),
        canvas=tuple(
            name for name in _CANVAS if embedded.get(name) or (name == "group" and headers.get(name))
        ),
        is_moved=any((headers.get("redelivered"), delivery.get("redelivered"), properties.get("priority"))),
    )


def _read_body(
    body: Any, encoding: Any, compression: Any, *, asked: str
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    try:
        decoded = _decode(body, encoding)
        parts = json.loads(_decompress(decoded, compression) if compression else decoded)
    except (ValueError, RecursionError):
        raise Poison("undecodable body") from None
    shape = (list, dict, dict)
    if not isinstance(parts, list) or len(parts) != _PROTOCOL_2_PARTS:
        raise Poison("the body is not Celery's protocol 2")
    if not all(isinstance(part, kind) for part, kind in zip(parts, shape, strict=True)):
        raise Poison("the body is not Celery's protocol 2")
    arguments, named, embedded = parts
    if not named.keys() <= {asked, "signature"} or len(arguments) + (asked in named) > 1:
        raise Poison(f"arguments other than one {asked} and its signature")
    return arguments, named, embedded


def _decode(body: Any, encoding: Any) -> bytes:
    if not isinstance(body, str):
        raise Poison("no body")
    return base64.b64decode(body, validate=True) if encoding == "base64" else body.encode()


def _decompress(body: bytes, compression: Any) -> bytes:
    if not isinstance(compression, str) or compression not in _COMPRESSIONS:
        raise Poison(f"compression {mask_text(str(compression)[:80])!r} is not served; gzip and zlib are")
    reader = zlib.decompressobj(wbits=_EITHER_FORMAT)
    try:
        whole = reader.decompress(body, MAX_ELEMENT_BYTES + 1)
    except zlib.error:
        raise Poison("undecodable body") from None
    if len(whole) > MAX_ELEMENT_BYTES:
        raise Poison(f"larger than {MAX_ELEMENT_BYTES} bytes when decompressed")
    if not reader.eof:
        raise Poison("undecodable body")
    return whole
