"""What the checks before a start come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's result.

    Attributes:
        check: What was looked at.
        verdict: Whether a worker may start.
        seen: What was found.
        fix: What to do about it; empty where nothing is to be done.
        must_wait: Whether the rest can be looked at only when this is over, as it may be by itself.
    """

    check: str
    verdict: Verdict
    seen: str
    fix: str = ""
    must_wait: bool = False
