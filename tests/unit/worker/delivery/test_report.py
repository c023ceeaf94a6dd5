"""Whose word a report by plain Celery is believed to be."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from transfer_tasks.connection import ConnectionReason, ConnectionStatus, ReportSource
from transfer_tasks.signature import parse_signing_key, parse_verify_keys
from transfer_worker.delivery.report import read_report
from transfer_worker.errors import ReportRefused

KEY, STRANGER = parse_signing_key(f"receiver:{'r' * 32}"), parse_signing_key(f"receiver:{'x' * 32}")
KEYS = parse_verify_keys(f"receiver:{'r' * 32}")
CALL = "8F14E45F-CEEA-467F-A0E6-1B2C3D4E5F60"
SAID = {
    "call_id": CALL,
    "request_id": "r-1",
    "status": "not_connected",
    "reason": "busy",
    "source": "webhook",
}
TEXT = json.dumps(SAID)


def test_what_is_signed_is_the_platforms_word():
    report = read_report(TEXT, KEY.sign(TEXT).signature, KEYS)
    assert (report.call_id, report.request_id) == (CALL.lower(), "r-1")
    assert (report.status, report.reason) == (ConnectionStatus.NOT_CONNECTED, ConnectionReason.BUSY)
    assert report.source is ReportSource.WEBHOOK


@pytest.mark.parametrize("source", ["room", "platform_api", "webhook"])
@pytest.mark.parametrize(
    ("asked", "signature", "keys"),
    [
        (SAID, None, None),
        (TEXT, KEY.sign(TEXT).signature, None),  # nobody verifies
        (TEXT, None, KEYS),
        (SAID, KEY.sign(TEXT).signature, KEYS),  # no text
        (TEXT, STRANGER.sign(TEXT).signature, KEYS),
        (TEXT, KEY.sign(TEXT + " ").signature, KEYS),
    ],
)
def test_without_a_signature_nobody_speaks_for_the_platform(source, asked, signature, keys):
    asked = asked.replace("webhook", source) if isinstance(asked, str) else {**asked, "source": source}
    if signature and source != "webhook" and isinstance(asked, str):
        signature = None
    with pytest.raises(ReportRefused):
        read_report(asked, signature, keys)


def test_a_sessions_word_needs_none_where_nothing_is_signed():
    said = {name: value for name, value in SAID.items() if name != "source"}
    assert read_report(said, None, None).source is ReportSource.SESSION
    with pytest.raises(ReportRefused):
        read_report(said, None, KEYS)


@pytest.mark.parametrize("keys", [None, KEYS])
def test_an_engineers_word_does_not_come_this_way(keys):
    text = json.dumps({**SAID, "source": "operator"})
    with pytest.raises(ReportRefused, match="resolve"):
        read_report(text, KEY.sign(text).signature, keys)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "moved"},
        {"reason": "bored"},
        {"call_id": "x"},
        {"more": 1},
        {"at": "2026-01-01"},
        {"request_id": "\n"},
    ],
)
def test_what_is_no_report_is_refused_and_repeated_nowhere(change):
    with pytest.raises(ReportRefused) as raised:
        read_report({**SAID, "source": "session", **change}, None, None)
    assert str(next(iter(change.values()))) not in str(raised.value) or change == {"more": 1}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda of: st.lists(of) | st.dictionaries(st.text(), of),
    )
)
def test_whatever_json_can_say_is_read_or_refused(asked):
    with pytest.raises(ReportRefused):
        read_report(asked, asked, KEYS)
