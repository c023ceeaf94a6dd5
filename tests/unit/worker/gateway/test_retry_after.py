"""Reading `Retry-After`: seconds, dates, and what servers send instead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_worker.gateway.retry_after import MAX_RETRY_AFTER_SECONDS, parse_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("999999999", MAX_RETRY_AFTER_SECONDS),
        (None, None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("9999999999", MAX_RETRY_AFTER_SECONDS),
        ("9" * 400, MAX_RETRY_AFTER_SECONDS),
        ("Fri, 99 Nov 2026 00:00:00 GMT", None),
    ],
)
def test_seconds_and_junk(value, seconds):
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 12:00:30 -0000", 30.0),
        ("Fri, 20 Nov 2026 13:00:30 +0100", 30.0),
        ("Fri, 20 Nov 2026 11:59:00 GMT", 0.0),
        ("Wed, 01 Jan 2098 00:00:00 GMT", MAX_RETRY_AFTER_SECONDS),
    ],
)
def test_a_date_counts_from_the_servers_own_clock(date, seconds):
    assert parse_retry_after(date, "Fri, 20 Nov 2026 12:00:00 GMT") == seconds


@pytest.mark.parametrize("server_date", [None, "junk"])
def test_without_the_servers_clock_a_date_counts_from_ours(server_date):
    wanted_at = datetime.now(UTC) + timedelta(seconds=60)
    seconds = parse_retry_after(format_datetime(wanted_at, usegmt=True), server_date)
    assert seconds is not None
    assert 58.0 <= seconds <= 60.0


@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_no_text_breaks_it(value, server_date):
    seconds = parse_retry_after(value, server_date)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER_SECONDS
