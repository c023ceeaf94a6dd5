"""One `GET /v3/transfers/{request_id}`, and what is known after it.

The vendor's own client (piopiy-agent 1.2.1) breaks on half of the answers that a server can give, and takes
an unknown status for a success. Here a status that nobody knows is what it is, and only an answer about the
request that was asked for counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import requests

from transfer_tasks.connection import read_call_id, read_platform_words
from transfer_worker.gateway.connection import NotedAdapter
from transfer_worker.gateway.exchange import Exchange
from transfer_worker.gateway.retry_after import parse_retry_after
from transfer_worker.gateway.rules import ReceivedAnswer

if TYPE_CHECKING:
    from urllib3.util.retry import Retry

    from transfer_tasks.connection import PlatformWords


class Seen(StrEnum):
    """What came of one question."""

    TOLD = "told"
    """The platform has said how the request goes."""
    UNKNOWN_STATUS = "unknown_status"
    """It has said so in a word that nobody knows."""
    NOT_FOUND = "not_found"
    """It knows no such request: not yet, not any more, or never. That settles nothing."""
    RATE_LIMITED = "rate_limited"
    UNAUTHORIZED = "unauthorized"
    SERVER_ERROR = "server_error"
    UNREADABLE = "unreadable"
    """An answer that is not the platform's, or not about this request."""
    UNREACHABLE = "unreachable"
    """No answer, for whatever reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """What is known after one question.

    Attributes:
        seen: What came of it.
        words: What the platform says, where it was `TOLD`.
        retry_after_seconds: How long it wants to be left alone, where it says so.
    """

    seen: Seen
    words: PlatformWords | None = None
    retry_after_seconds: float | None = None


_OF_STATUS: Final[dict[int, Seen]] = {
    HTTPStatus.NOT_FOUND: Seen.NOT_FOUND,
    HTTPStatus.GONE: Seen.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: Seen.RATE_LIMITED,
    HTTPStatus.UNAUTHORIZED: Seen.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: Seen.UNAUTHORIZED,
}


class StatusClient:
    """Asks Piopiy how requests went, each on a connection of its own. For one thread.

    It can do nothing else: no other method, no other address, no redirects.

    Args:
        token: The bearer token.
        base_url: The API's root, such as ``https://rest.piopiy.com/v3``.
        timeout_seconds: What one question may take, the answer included.
        proxy_url: A proxy to go through by CONNECT.
    """

    def __init__(
        self, *, token: str, base_url: str, timeout_seconds: float, proxy_url: str | None = None
    ) -> None:
        self._base_url, self._timeout_seconds = base_url.rstrip("/"), timeout_seconds
        never: Retry = requests.adapters.HTTPAdapter(max_retries=0).max_retries
        self._adapter = NotedAdapter(max_retries=never, proxy_url=proxy_url)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update(
            {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity", "Connection": "close"}
        )
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)

    def ask(self, request_id: str, *, call_id: str) -> StatusAnswer:
        """Ask once how a request went that moves this call; never raises for what the far end does."""
        self._adapter.exchange = Exchange(timeout_seconds=self._timeout_seconds)
        url = f"{self._base_url}/transfers/{quote(request_id, safe='')}"
        try:
            response = self._session.get(url, timeout=self._timeout_seconds, allow_redirects=False)
            answer = ReceivedAnswer(response.status_code, response.headers, response.content)
        except (requests.RequestException, OSError):
            return StatusAnswer(seen=Seen.UNREACHABLE)
        finally:
            self._adapter.close()
        return read_status(answer, request_id=request_id, call_id=call_id)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def read_status(answer: ReceivedAnswer, *, request_id: str, call_id: str) -> StatusAnswer:
    """Return what an answer says of this request."""
    wanted = parse_retry_after(answer.headers.get("Retry-After"), answer.headers.get("Date"))
    if answer.status != HTTPStatus.OK:
        seen = Seen.SERVER_ERROR if answer.status >= 500 else Seen.UNREADABLE
        return StatusAnswer(seen=_OF_STATUS.get(answer.status, seen), retry_after_seconds=wanted)
    value = answer.parse()
    if not isinstance(value, dict) or not isinstance(value.get("status"), str):
        return StatusAnswer(seen=Seen.UNREADABLE)
    named = value.get("request_id", request_id), value.get("call_id", call_id)
    if str(named[0]) != request_id or not _is_same_call(named[1], call_id):
        return StatusAnswer(seen=Seen.UNREADABLE)
    words = read_platform_words(value["status"], value.get("reason"))
    return StatusAnswer(seen=Seen.TOLD if words else Seen.UNKNOWN_STATUS, words=words)


def _is_same_call(named: object, call_id: str) -> bool:
    return (read_call_id(named) or named) == (read_call_id(call_id) or call_id)
