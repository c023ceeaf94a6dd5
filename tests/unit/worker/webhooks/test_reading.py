"""What a webhook says: the vendor's own bodies (September 2026; numbers replaced), and how types drift."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_tasks.connection import ConnectionStatus
from transfer_worker.webhooks.reading import LegNews, UnreadableWebhook, read_webhook

BODIES = json.loads((Path(__file__).parent / "fixtures" / "bodies.json").read_text("utf-8"))
TOKEN = "GQqYoKtVxkS3mJ0aTzWfUe7hPb2cRdLi5yNv8wEsXg4"
CALL = "a39e868b-7f43-4bbb-8b51-0d3c7e52ff10"
BRIDGED = BODIES["outbound, leg b bridged"]


def read(body: object) -> LegNews | None:
    return read_webhook(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("name", "conversation", "is_first", "call_id", "to", "status", "second"),
    [
        (
            "outbound, leg a answered",
            TOKEN,
            True,
            "ee6a7a9b-78ea-4693-9e77-5fc085567b2f",
            "19170000000",
            ConnectionStatus.RINGING,
            31,
        ),
        ("outbound, leg b bridged", TOKEN, False, "", "19170000001", ConnectionStatus.CONNECTED, 35),
        ("inbound, leg a answered", CALL, True, CALL, "440000000000", ConnectionStatus.RINGING, 31),
        ("hang-up in the older form", CALL, True, CALL, "440000000000", None, 11),
        ("CDR, outbound missed", TOKEN, False, "", "19170000001", ConnectionStatus.NOT_CONNECTED, 11),
        ("CDR, inbound answered", CALL, True, CALL, "440000000000", ConnectionStatus.CONNECTED, 11),
    ],
)
def test_the_vendors_own_bodies(name, conversation, is_first, call_id, to, status, second):
    news = read(BODIES[name])
    assert news is not None
    assert (news.conversation, news.is_first_leg, news.call_id) == (conversation, is_first, call_id)
    assert (news.to, news.status, news.at.second) == (to, status, second)
    assert news.at.date() == datetime(2024, 9, 10, tzinfo=UTC).date()


@pytest.mark.parametrize("to", [19170000001, "19170000001", "+19170000001", 19170000001.0, " 19170000001 "])
def test_a_number_is_one_number_however_it_is_written(to):
    assert read({**BRIDGED, "to": to}).to == "19170000001"


@pytest.mark.parametrize("to", ["sip:Desk@pbx.example.com", "desk@PBX.example.com"])
def test_a_sip_address_is_compared_without_case_and_scheme(to):
    assert read({**BRIDGED, "to": to}).to == "desk@pbx.example.com"


@pytest.mark.parametrize("time", [1725942875456, "1725942875456", 1725942875, "1725942875"])
def test_times_in_seconds_and_milliseconds(time):
    assert read({**BRIDGED, "time": time}).at.replace(microsecond=0) == datetime(
        2024, 9, 10, 4, 34, 35, tzinfo=UTC
    )


@pytest.mark.parametrize("time", [None, True, "soon", -1, 1e300, [1], "99999999999999", float("nan")])
def test_a_time_that_can_not_be_is_none(time):
    body = {**BRIDGED, "time": time}
    assert read(body).at is None


@pytest.mark.parametrize(
    "status", ["cancelled", "", None, 7, "bridged_maybe", "success", "completed", "hangup"]
)
def test_a_status_that_nobody_knows_says_nothing(status):
    assert read({**BRIDGED, "status": status}).status is None


@pytest.mark.parametrize("status", ["bridged", "out_bridged", "in_bridged", "OUT_BRIDGED"])
def test_the_prefix_is_left_out(status):
    assert read({**BRIDGED, "status": status}).status is ConnectionStatus.CONNECTED


def test_a_leg_that_is_answered_is_not_yet_connected():
    assert read({**BRIDGED, "status": "out_answered"}).status is ConnectionStatus.RINGING


@pytest.mark.parametrize("field", ["conversation_uuid", "leg"])
@pytest.mark.parametrize("value", [None, "", 5, [], {}, "c", "x" * 129, "line\nbreak"])
def test_without_conversation_or_leg_it_is_of_no_leg(field, value):
    if field == "conversation_uuid" and value == "c":
        return
    assert read({**BRIDGED, field: value}) is None


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"5", b"{", b"\xff", b"[" * 100_000, b"a=b&status=missed"]
)
def test_what_is_no_object_is_unreadable(body):
    with pytest.raises(UnreadableWebhook):
        read_webhook(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(sorted(BODIES)), st.dictionaries(st.sampled_from(sorted(BRIDGED)), values))
def test_whatever_the_types_are_it_is_read_or_says_nothing(name, changes):
    body = {**BODIES[name], **changes}
    news = read(body)
    if news is None:
        return
    assert news.status is None or isinstance(body["status"], str)
    assert news.at is None or news.at.tzinfo is UTC
    assert "76.349024" not in repr(news)  # money is nobody's business here
