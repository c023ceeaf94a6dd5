"""What a source reports of a transfer after the platform has accepted it."""

from __future__ import annotations

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

from transfer_tasks.connection import (
    ConnectionReason,
    ConnectionReport,
    ConnectionStatus,
    ReportSource,
    read_platform_words,
)

REASONS = [reason for reason in ConnectionReason if reason is not ConnectionReason.CALLER_GONE]


def make_report(**said):
    said = {
        "call_id": "c",
        "request_id": "r",
        "status": ConnectionStatus.RINGING,
        "source": ReportSource.ROOM,
        **said,
    }
    return ConnectionReport(**said)


@pytest.mark.parametrize(
    ("status", "means"),
    [
        ("queued", ConnectionStatus.QUEUED),
        ("started", ConnectionStatus.RINGING),
        ("completed", ConnectionStatus.CONNECTED),
        ("failed", ConnectionStatus.NOT_CONNECTED),
    ],
)
def test_the_platforms_statuses_are_read(status, means):
    words = read_platform_words(status)
    assert (words.status, words.reason, words.caller_gone) == (means, None, False)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_may_say_that_the_whole_call_is_over(reason):
    plain = read_platform_words("failed", reason.value)
    assert (plain.reason, plain.caller_gone) == (reason, False)
    ended = read_platform_words("failed", f"{reason.value}_and_call_ended")
    assert (ended.reason, ended.caller_gone) == (reason, True)


@pytest.mark.parametrize("word", ["caller_gone", "call_ended", "something_and_call_ended"])
def test_a_caller_who_is_gone_is_a_reason_by_itself(word):
    words = read_platform_words("failed", word)
    assert (words.reason, words.caller_gone) == (ConnectionReason.CALLER_GONE, True)


@given(
    st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text()), st.dictionaries(st.text(), st.text()))
)
def test_a_status_that_nobody_knows_is_never_a_success(status):
    if status not in ("queued", "started", "completed", "failed"):
        assert read_platform_words(status, "busy") is None


@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())))
def test_what_failed_has_failed_whatever_the_reason(reason):
    assert read_platform_words("failed", reason).status is ConnectionStatus.NOT_CONNECTED


def test_a_reason_with_anything_but_a_failure_is_left_out():
    assert read_platform_words("completed", "busy").reason is None


@pytest.mark.parametrize(
    "said",
    [
        {"call_id": "", "request_id": ""},
        {"request_id": "with a blank"},
        {"request_id": "x" * 129},
        {"reason": ConnectionReason.BUSY},
        {"caller_gone": True},
        {"at": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is the point
    ],
)
def test_what_can_be_no_report_is_refused(said):
    with pytest.raises(ValueError, match=r"report|request_id|reason|at:"):
        make_report(**said)


def test_a_report_names_a_call_a_request_or_a_transfer():
    make_report(call_id="")
    make_report(request_id="", at=datetime(2026, 1, 1, tzinfo=UTC))
    make_report(call_id="", request_id="", transfer_id="t")
