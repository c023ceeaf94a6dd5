"""What comes off the queue, read at the door: ids, bodies, and everything that a producer may have added."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import pytest

from transfer_tasks.publisher.message import build_message
from transfer_worker.queue.arrivals import Arrivals
from transfer_worker.queue.element import FACTS_HEADER, Element
from transfer_worker.queue.poison import MAX_ELEMENT_BYTES, Poison, read_element

TASK_ID = "7d4f0f6e-6a3e-4d0a-9d43-0f1f6c8e2b11"
ASKED = {"call_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "destination": "support"}
NO_CANVAS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def message(task_id: Any = TASK_ID, body: Any = None, **headers: Any) -> dict[str, Any]:
    """Return a message of a producer that only has Celery."""
    whole: dict[str, Any] = json.loads(
        build_message(transfer_id=TASK_ID, call_id=ASKED["call_id"], labels={}, queue="transfers")
    )
    body = [[], {"intent": ASKED}, NO_CANVAS] if body is None else body
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    whole["body"] = base64.b64encode(raw).decode()
    whole["headers"] |= {"id": task_id, **headers}
    return whole


def read(whole: Any) -> Element:
    return read_element(json.dumps(whole).encode(), queue="transfers")


def why_not(whole: Any) -> Poison:
    with pytest.raises(Poison) as refused:
        read(whole)
    return refused.value


@pytest.mark.parametrize(
    "task_id", ["order 42", "4915112345678", "\ud800", "", "0x" + 30 * "a", 7, None, ["x"], TASK_ID + "\n"]
)
def test_a_task_id_that_is_not_a_uuid_is_refused_and_not_repeated(task_id):
    refused = why_not(message(task_id))
    assert (str(refused), refused.task_id) == ("the task id is not a UUID", "")


@pytest.mark.parametrize("spelling", [TASK_ID.upper(), TASK_ID.replace("-", ""), f"{{{TASK_ID}}}"])
def test_a_task_id_in_another_spelling_is_the_same(spelling):
    element = read(message(spelling))
    assert element.task_id == element.as_seen_by_celery()["headers"]["id"] == TASK_ID


def test_protocol_1_is_named_with_its_id():
    body = {"task": "transfer_tasks.transfer_call", "id": TASK_ID.upper(), "args": [], "kwargs": {}}
    refused = why_not(
        {**message(), "headers": {}, "body": base64.b64encode(json.dumps(body).encode()).decode()}
    )
    assert refused.task_id == TASK_ID
    assert "protocol 1" in str(refused)
    assert "task_protocol = 2" in str(refused)


def test_json_in_another_encoding_is_not_json():
    with pytest.raises(Poison, match="not JSON"):
        read_element(json.dumps(message()).encode("utf-16"), queue="transfers")


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
@pytest.mark.parametrize("name", ["application/x-gzip", "gzip", "zlib"])
def test_a_compressed_body_is_read(compress, name):
    element = read(message(body=compress(json.dumps([[ASKED], {}, {}]).encode()), compression=name))
    assert element.plain is not None
    assert element.plain.arguments == [ASKED]
    assert "compression" not in element.as_seen_by_celery()["headers"]


def test_what_a_compressed_body_becomes_is_bounded():
    bomb = zlib.compress(b" " * (MAX_ELEMENT_BYTES + 1))
    assert len(bomb) < 1000
    assert "when decompressed" in str(why_not(message(body=bomb, compression="gzip")))
    fits = json.dumps([[ASKED], {}, {}]).encode().ljust(MAX_ELEMENT_BYTES)
    assert read(message(body=zlib.compress(fits), compression="gzip")).plain is not None


@pytest.mark.parametrize(
    ("body", "compression", "says"),
    [
        (zlib.compress(b"[[], {}, {}]" * 100)[:-5], "gzip", "undecodable body"),
        (b"[[], {}, {}]", "gzip", "undecodable body"),
        (b"[[], {}, {}]", "application/x-bz2", "is not served"),
        (b"[[], {}, {}]", 7, "is not served"),
    ],
)
def test_another_compression_is_refused_in_words(body, compression, says):
    refused = why_not(message(body=body, compression=compression))
    assert says in str(refused)
    assert refused.task_id == TASK_ID


def test_celery_sees_nothing_that_it_would_act_on():
    canvas = {name: [{"task": "other.task"}] for name in ("chain", "callbacks", "errbacks", "chord", "group")}
    strange = {
        "eta": "2099-01-01T00:00:00",
        "expires": 12345,
        "group": "g",
        "retries": "x",
        "timelimit": "x",
        "shadow": "+12025550143",
        "stamps": {"a": 1},
        "root_id": "other",
        FACTS_HEADER: "forged",
    }
    whole = message(body=[[ASKED], {}, canvas], **strange)
    whole["properties"]["delivery_info"] = {"exchange": ["x"], "routing_key": {}}

    element = read(whole)
    seen, plain = element.as_seen_by_celery(), element.plain

    ours = read(json.loads(build_message(transfer_id=TASK_ID, call_id="c", labels={}, queue="transfers")))
    as_ours = ours.as_seen_by_celery()
    assert plain is not None
    assert (plain.eta, plain.expires) == ("2099-01-01T00:00:00", 12345)
    assert plain.canvas == ("chain", "callbacks", "errbacks", "chord", "group")
    assert seen["headers"].pop(FACTS_HEADER) is plain
    differing = {name for name, value in seen["headers"].items() if as_ours["headers"][name] != value}
    assert differing == {"kwargsrepr"}
    assert seen["properties"] == as_ours["properties"]


def test_a_group_is_canvas_by_its_header_too():
    plain = read(message(group="g")).plain
    assert plain is not None
    assert plain.canvas == ("group",)


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole["headers"].update(redelivered=True),
        lambda whole: whole["properties"]["delivery_info"].update(redelivered=True),
        lambda whole: whole["properties"].update(priority=5),
    ],
)
def test_a_message_that_was_moved_says_so(change):
    whole = message()
    change(whole)
    plain = read(whole).plain
    assert plain is not None
    assert plain.is_moved


def test_only_what_was_known_before_it_was_asked_for_bounds_a_message():
    arrivals = Arrivals()
    first, second, third = read(message()), read(message()), read(message())
    notification = read(
        json.loads(build_message(transfer_id=TASK_ID, call_id="c", labels={}, queue="transfers"))
    )

    arrivals.note_empty(1000)
    arrivals.note(first)
    arrivals.note_asking()
    arrivals.note_empty(2000)
    arrivals.note(second)
    arrivals.note(notification)
    arrivals.note_asking()
    arrivals.note(third)

    known = [(of.plain.empty_ms, of.plain.after) for of in (first, second, third) if of.plain]
    assert known == [(0, ""), (1000, ""), (2000, TASK_ID)]


def test_a_redelivered_notification_bounds_nothing():
    arrivals, plain = Arrivals(), read(message())
    whole = json.loads(build_message(transfer_id=TASK_ID, call_id="c", labels={}, queue="transfers"))
    whole["headers"]["redelivered"] = True
    arrivals.note(read(whole))
    arrivals.note(plain)
    assert plain.plain is not None
    assert plain.plain.after == ""
