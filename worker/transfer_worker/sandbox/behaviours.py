"""How the sandbox answers: the behaviours by name.

A behaviour is written ``NAME``, ``NAME:SECONDS`` or ``NAME-not-done``: ``503``, ``429:1``, ``html-not-done``.
Whether the simulated platform moved the call is part of it. Where an answer leaves that open (silence, a
500, …) it did, unless the name ends in ``-not-done``. `docs/sandbox.md` lists all of them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        interim: Sent before the answer.
        missing_bytes: How much more the Content-Length promises than is sent.
        delay_seconds: How long to wait before answering.
        names_request: Whether the body gets the call's id and the request's.
    """

    text: str
    carried_out: bool
    manner: Manner = Manner.ANSWER
    status: int | None = None
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    missing_bytes: int = 0
    interim: bytes = b""
    delay_seconds: float = 0.0
    names_request: bool = False

    def naming(self, call_id: str, request_id: str) -> Behaviour:
        """Return it with these ids in its body, if it names any."""
        if not self.names_request:
            return self
        value = {**json.loads(self.body), "call_id": call_id, "request_id": request_id}
        return replace(self, body=json.dumps(value).encode())

    def to_bytes(self) -> bytes:
        """Return the HTTP answer."""
        status = HTTPStatus(self.status or 200)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Type: {self.content_type}"]
        lines.append(f"Content-Length: {len(self.body) + self.missing_bytes}")
        lines.extend(f"{name}: {value}" for name, value in self.headers)
        return self.interim + "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


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
_TAKEN: Final = frozenset({"ok", "tracked", "slow", "hints"})
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
    # Envoy's own words for a request that it may have handed on.
    "proxy": {
        "status": 503,
        "body": b"upstream connect error or disconnect/reset before headers. reset reason: remote reset",
        "content_type": "text/plain",
    },
    "denied": {"status": 200, "body": b'{"success": false}'},
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
        raise ValueError(f"{text!r} is not a behaviour; write NAME, NAME:SECONDS or NAME-not-done")
    name, not_done = match["name"], match["not_done"] is not None
    seconds = float(match["seconds"]) if match["seconds"] else None
    if name in _TAKEN:
        settings: dict[str, Any] = {"status": 200, "body": _QUEUED}
        if name == "hints":
            settings["interim"] = b"HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n"
        settings["names_request"] = name == "tracked"
        is_open = False
        delay_seconds = (2.0 if seconds is None else seconds) if name == "slow" else 0.0
    elif name.isdigit():
        settings, is_open, delay_seconds = _of_status(int(name), seconds), _leaves_open(int(name)), 0.0
    elif name in _OPEN:
        settings, is_open, delay_seconds = _OPEN[name], True, seconds or 0.0
    else:
        raise ValueError(f"{name!r} is not a behaviour; see docs/sandbox.md")
    if not_done and not is_open:
        raise ValueError(f"{name!r} says by itself whether the call was moved; -not-done doesn't apply")
    carried_out = name in _TAKEN or (is_open and not not_done)
    return Behaviour(text=text, carried_out=carried_out, delay_seconds=delay_seconds, **settings)


def _of_status(status: int, retry_after_seconds: float | None) -> dict[str, Any]:
    HTTPStatus(status)  # ValueError for a number that is not a status
    body = json.dumps({"error": _ERRORS.get(status, HTTPStatus(status).phrase)}).encode()
    headers = () if retry_after_seconds is None else (("Retry-After", f"{retry_after_seconds:g}"),)
    names_request = status == HTTPStatus.CONFLICT  # the transfer that is running
    return {"status": status, "body": body, "headers": headers, "names_request": names_request}


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
        ValueError: One of them is not a behaviour.
    """
    return Script(tuple(parse_behaviour(text) for text in first), parse_behaviour(then))
