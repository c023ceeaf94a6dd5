"""The `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_SECONDS: Final = 86_400.0
"""A day; more than any deadline, so a longer wish changes nothing."""

_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


def parse_retry_after(value: str | None, server_date: str | None = None) -> float | None:
    """Return the wait that a server asks for, in seconds, from 0 to a day; None if it can't be read.

    Args:
        value: The header's value.
        server_date: The answer's `Date` header: a date is counted from there, so that a clock that differs
            from the server's does no harm.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    wanted_at = _parse_date(text)
    if wanted_at is None:
        return None
    seconds = (wanted_at - (_parse_date(server_date or "") or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _parse_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
