"""What becomes of a transfer after its request was accepted: courses, written as a list of steps.

A step is written ``[other-]STATUS[-lost|-doubled][:SECONDS]``: ``ringing``, ``connected:20``, ``busy-lost``,
``no_answer_and_call_ended``. The seconds count from the step before. `docs/sandbox.md` lists all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

RINGING: Final = "ringing"
CONNECTED: Final = "connected"

MAX_SECONDS: Final = 3600.0

_WRITTEN: Final = re.compile(
    r"(?P<other>other-)?(?P<status>[a-z_]{1,64})(?P<way>-lost|-doubled)?(:(?P<seconds>[0-9]{1,4}(\.[0-9]{1,3})?))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens to a transfer.

    Attributes:
        status: `RINGING`, `CONNECTED`, or the reason for which nobody was connected.
        after_seconds: How long after the step before.
        times: How often it is told; 0 where it happens and nobody is told. Who asks hears it nevertheless.
        is_of_another: Whether it is told of another request than this one, as of an earlier hop.
    """

    status: str
    after_seconds: float = 0.0
    times: int = 1
    is_of_another: bool = False

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow it."""
        return self.status != RINGING


Course = tuple[Step, ...]


def parse_course(texts: Iterable[str]) -> Course:
    """Return the course that is written as a list of steps.

    Raises:
        ValueError: One of them is not a step.
    """
    return tuple(_parse_step(text) for text in texts)


def _parse_step(text: str) -> Step:
    match = _WRITTEN.fullmatch(text)
    seconds = float(match["seconds"] or 0) if match else 0.0
    if match is None or seconds > MAX_SECONDS:
        raise ValueError(f"{text!r} is not a step; write [other-]STATUS[-lost|-doubled][:SECONDS]")
    return Step(
        status=match["status"],
        after_seconds=seconds,
        times={"-lost": 0, "-doubled": 2}.get(match["way"], 1),
        is_of_another=match["other"] is not None,
    )
