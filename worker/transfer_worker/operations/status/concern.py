"""Something that somebody should look at, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that somebody should look at.

    Attributes:
        text: What it is.
        command: What tells more.
    """

    text: str
    command: str


def tell_since(at_ms: float) -> str:
    """Return since when something is so, by the time of day."""
    return f"since {datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S} UTC"


def tell_span(seconds: float) -> str:
    """Return a span for people."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
