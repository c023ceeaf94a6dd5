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

    @classmethod
    def ok(cls, check: str, *, seen: str) -> Finding:
        """Return that all is as it should be."""
        return cls(check=check, verdict=Verdict.OK, seen=seen)

    @classmethod
    def warning(cls, check: str, *, seen: str, fix: str, must_wait: bool = False) -> Finding:
        """Return that a worker may start, and that something should be done."""
        return cls(check=check, verdict=Verdict.WARNING, seen=seen, fix=fix, must_wait=must_wait)

    @classmethod
    def problem(cls, check: str, *, seen: str, fix: str) -> Finding:
        """Return that no worker may start before something is done."""
        return cls(check=check, verdict=Verdict.PROBLEM, seen=seen, fix=fix)

    @classmethod
    def not_checked(cls, check: str, *, seen: str, fix: str = "") -> Finding:
        """Return that it could not be looked at, and why."""
        return cls(check=check, verdict=Verdict.NOT_CHECKED, seen=seen, fix=fix)
