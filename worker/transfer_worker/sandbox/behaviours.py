"""How the sandbox answers: the behaviours by name, the magic numbers, and who decides which applies.

A behaviour is written ``NAME``, ``NAME:SECONDS`` or ``NAME-not-done``: ``503``, ``429:1``, ``html-not-done``.
Whether the simulated platform moved the call is part of it. Where an answer leaves that open (silence, a
500, …) it did, unless the name ends in ``-not-done``. `docs/sandbox.md` lists all of them.
"""

from __future__ import annotations

import random
import re
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Manner(Enum):
    """What is done to the connection."""

    ANSWER = "answer"
    SILENCE = "silence"
    RESET = "reset"
    CLOSE = "close"
    DRIP = "drip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What happens to one request.

    Attributes:
        text: How it was written.
        carried_out: Whether the simulated platform moved the call.
        manner: What is done to the connection.
        status: The status that is answered; None without an answer.
        body: The answer's body, of this `content_type`.
        headers: Further headers.
        missing_bytes: How much more the Content-Length promises than is sent.
        delay_seconds: How long to wait before answering.
    """

    text: str
    carried_out: bool
    manner: Manner = Manner.ANSWER
    status: int | None = None
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    missing_bytes: int = 0
    delay_seconds: float = 0.0

    def to_bytes(self) -> bytes:
        """Return the HTTP answer."""
        status = HTTPStatus(self.status or 200)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Type: {self.content_type}"]
        lines.append(f"Content-Length: {len(self.body) + self.missing_bytes}")
        lines.extend(f"{name}: {value}" for name, value in self.headers)
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


_QUEUED: Final = b'{"message": "queued"}'
_ERRORS: Final = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "call_not_found",
    409: "transfer_in_progress",
    410: "call_ended",
    422: "unprocessable",
    429: "rate_limited",
    503: "unavailable",
}
_WRITTEN: Final = re.compile(
    r"(?P<name>[a-z]+|[345][0-9]{2})(?P<not_done>-not-done)?(:(?P<seconds>[0-9.]{1,6}))?"
)
_PAGE: Final = b"<html><body><h1>Please log in</h1></body></html>"
# Each leaves open, as a real platform would, whether the call was moved.
_OPEN: Final[dict[str, dict[str, Any]]] = {
    "silence": {"manner": Manner.SILENCE},
    "reset": {"manner": Manner.RESET},
    "close": {"manner": Manner.CLOSE},
    "drip": {"manner": Manner.DRIP, "status": 200, "body": _QUEUED},
    "cut": {"status": 200, "body": _QUEUED[:9], "missing_bytes": len(_QUEUED) - 9},
    "html": {"status": 200, "body": _PAGE, "content_type": "text/html"},
    "empty": {"status": 200},
    "truncated": {"status": 200, "body": _QUEUED[:9]},
    "array": {"status": 200, "body": b'["queued"]'},
    # 307 keeps the method: a client that follows it shows up with a second POST.
    "redirect": {"status": 307, "headers": (("Location", "/v3/voice/pcmo/transfer"),)},
}


def parse_behaviour(text: str) -> Behaviour:
    """Return the behaviour that `text` names.

    Raises:
        ValueError: There is none of this name, or it can't be combined like that.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no behaviour; write NAME, NAME:SECONDS or NAME-not-done")
    name, not_done = match["name"], match["not_done"] is not None
    seconds = float(match["seconds"]) if match["seconds"] else None
    if name in {"ok", "slow"}:
        settings: dict[str, Any] = {"status": 200, "body": _QUEUED}
        is_open = False
        delay_seconds = (2.0 if seconds is None else seconds) if name == "slow" else 0.0
    elif name.isdigit():
        settings, is_open, delay_seconds = _of_status(int(name), seconds), _leaves_open(int(name)), 0.0
    elif name in _OPEN:
        settings, is_open, delay_seconds = _OPEN[name], True, seconds or 0.0
    else:
        raise ValueError(f"{name!r} is no behaviour; see docs/sandbox.md")
    if not_done and not is_open:
        raise ValueError(f"{name!r} says by itself whether the call was moved; -not-done doesn't apply")
    carried_out = name in {"ok", "slow"} or (is_open and not not_done)
    return Behaviour(text=text, carried_out=carried_out, delay_seconds=delay_seconds, **settings)


def _of_status(status: int, retry_after_seconds: float | None) -> dict[str, Any]:
    HTTPStatus(status)  # ValueError for a number that is no status
    body = f'{{"error": "{_ERRORS.get(status, HTTPStatus(status).phrase)}"}}'.encode()
    headers = () if retry_after_seconds is None else (("Retry-After", f"{retry_after_seconds:g}"),)
    return {"status": status, "body": body, "headers": headers}


def _leaves_open(status: int) -> bool:
    return status not in {429, 503} and (status < 400 or status == 408 or status >= 500)


@dataclass(frozen=True, slots=True)
class Script:
    """Behaviours one after the other, one for each request, and what comes after them."""

    first: tuple[Behaviour, ...] = ()
    then: Behaviour = field(default_factory=lambda: parse_behaviour("ok"))

    def step(self, number: int) -> Behaviour:
        """Return the behaviour for the request with this number, counted from 0."""
        return self.first[number] if number < len(self.first) else self.then


def parse_script(first: Iterable[str], then: str = "ok") -> Script:
    """Return the script that is written as a list of behaviours.

    Raises:
        ValueError: One of them is no behaviour.
    """
    return Script(tuple(parse_behaviour(text) for text in first), parse_behaviour(then))


MAGIC_NUMBERS: Final[dict[str, Script]] = {
    "12025550100": parse_script([], "ok"),
    "12025550101": parse_script([], "slow:2"),
    "12025550103": parse_script([], "403"),
    "12025550104": parse_script([], "404"),
    "12025550105": parse_script([], "410"),
    "12025550109": parse_script([], "409"),
    "12025550110": parse_script([], "400"),
    "12025550111": parse_script([], "401"),
    "12025550122": parse_script([], "422"),
    "12025550128": parse_script(["429:1"]),
    "12025550129": parse_script([], "429:1"),
    "12025550150": parse_script([], "500"),
    "12025550152": parse_script([], "502"),
    "12025550153": parse_script(["503"]),
    "12025550154": parse_script([], "504"),
    "12025550155": parse_script([], "503"),
    "12025550156": parse_script(["503:1"]),
    "12025550160": parse_script([], "silence"),
    "12025550161": parse_script([], "silence-not-done"),
    "12025550162": parse_script([], "reset"),
    "12025550163": parse_script([], "reset-not-done"),
    "12025550164": parse_script([], "close"),
    "12025550165": parse_script([], "cut"),
    "12025550166": parse_script([], "drip"),
    "12025550170": parse_script([], "html"),
    "12025550171": parse_script([], "empty"),
    "12025550172": parse_script([], "truncated"),
    "12025550173": parse_script([], "array"),
    "12025550174": parse_script([], "redirect"),
}
"""What a destination number brings about; any other is answered with ``ok``."""


@dataclass(slots=True)
class Faults:
    """What befalls requests whoever sends them.

    Attributes:
        upcoming: Behaviours for the next requests, one each.
        mix: Probability of each behaviour, once `upcoming` is used up; what is left of 1 is no fault.
        random: Draws from the mix.
        delay_ms: Delay before every answer.
    """

    upcoming: deque[Behaviour] = field(default_factory=deque)
    mix: list[tuple[float, Behaviour]] = field(default_factory=list)
    random: random.Random = field(default_factory=random.Random)
    delay_ms: float = 0.0

    def draw(self) -> Behaviour | None:
        """Return the fault for one request, if there is one."""
        if self.upcoming:
            return self.upcoming.popleft()
        if not self.mix:
            return None
        chance = self.random.random()
        for probability, behaviour in self.mix:
            chance -= probability
            if chance < 0:
                return behaviour
        return None


def parse_faults(
    *,
    upcoming: Iterable[str] = (),
    mix: Mapping[str, float] | None = None,
    seed: int | None = None,
    delay_ms: float = 0.0,
) -> Faults:
    """Return the faults that are written as texts of behaviours.

    Raises:
        ValueError: A text is no behaviour, or a number is out of range.
    """
    chances = [(float(probability), parse_behaviour(text)) for text, probability in (mix or {}).items()]
    if any(probability < 0 for probability, _ in chances) or sum(chance for chance, _ in chances) > 1.000001:
        raise ValueError("mix: probabilities are 0 or more, and at most 1 together")
    if not 0 <= delay_ms < 600_000:
        raise ValueError("delay_ms: 0 to 600000")
    return Faults(
        upcoming=deque(parse_behaviour(text) for text in upcoming),
        mix=chances,
        random=random.Random(seed),  # noqa: S311 - a repeatable schedule of faults
        delay_ms=delay_ms,
    )


class Director:
    """Decides what happens to each request: the call's own script, else a fault, else the magic number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str, Script] = {}
        self._faults = Faults()
        self._steps: Counter[tuple[str, str]] = Counter()

    def set_script(self, call_id: str, script: Script) -> None:
        """Give a call a script of its own, from its first step."""
        with self._lock:
            self._scripts[call_id] = script
            self._steps.pop((call_id, ""), None)

    def set_faults(self, faults: Faults) -> None:
        """Replace the faults."""
        with self._lock:
            self._faults = faults

    def forget_steps(self) -> None:
        """Let every script and magic number begin anew."""
        with self._lock:
            self._steps.clear()

    def choose(self, call_id: str, pipeline: list[dict[str, Any]]) -> tuple[Behaviour, float]:
        """Return the behaviour for one request, and how many seconds to wait before it."""
        with self._lock:
            delay_seconds = self._faults.delay_ms / 1000
            if call_id in self._scripts:
                chosen = self._advance(self._scripts[call_id], (call_id, ""))
            elif fault := self._faults.draw():
                chosen = fault
            else:
                number = _find_first_number(pipeline)
                chosen = self._advance(MAGIC_NUMBERS.get(number, _OK), (call_id, number))
            return chosen, delay_seconds + chosen.delay_seconds

    def _advance(self, script: Script, key: tuple[str, str]) -> Behaviour:
        if not script.first:
            return script.then
        self._steps[key] += 1
        return script.step(self._steps[key] - 1)


_OK: Final = Script()


def _find_first_number(pipeline: list[dict[str, Any]]) -> str:
    """Return the number of the first connect's first pstn endpoint; empty if there is none."""
    endpoints: list[dict[str, Any]] = next(
        (action["endpoints"] for action in pipeline if action["action"] == "connect"), []
    )
    return next((str(endpoint["number"]) for endpoint in endpoints if endpoint["type"] == "pstn"), "")
