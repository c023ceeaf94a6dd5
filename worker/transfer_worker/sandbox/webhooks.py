"""The webhooks that the sandbox sends: bodies in the shapes of the vendor's pages ("Live Events", "CDR").

Nobody promises an order, a signature or a retry, and nothing is sent until an address is set.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests

from transfer_worker.sandbox.courses import CONNECTED, RINGING

if TYPE_CHECKING:
    from collections.abc import Mapping

CDR_AGAIN_SECONDS: Final = (300.0, 600.0, 900.0)
"""When a CDR comes again, after the first time (vendor's page "CDR")."""

TIMEOUT_SECONDS: Final = 5.0
MAX_KEPT: Final = 10_000
_APP_ID: Final = 2222224
_VIRTUAL_NUMBER: Final = 12025550199


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Where they go, and how.

    Attributes:
        url: The address; none are sent without.
        headers: Further headers of each request.
        is_inbound: Whether calls come in: their id is the conversation's, too. Else that is another token.
        cdr_again_seconds: When a CDR comes again, after the first time.
    """

    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_inbound: bool = True
    cdr_again_seconds: tuple[float, ...] = CDR_AGAIN_SECONDS


def parse_webhooks(
    *,
    url: str,
    headers: Mapping[str, str] | None = None,
    direction: str = "inbound",
    cdr_again_seconds: list[float] | None = None,
) -> Webhooks:
    """Return the settings that are written as plain values.

    Raises:
        ValueError: One of them can't be used.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError("url: an address that begins with http:// or https://")
    if direction not in {"inbound", "outbound"}:
        raise ValueError("direction: inbound or outbound")
    again = CDR_AGAIN_SECONDS if cdr_again_seconds is None else tuple(map(float, cdr_again_seconds))
    return Webhooks(
        url=url, headers=dict(headers or {}), is_inbound=direction == "inbound", cdr_again_seconds=again
    )


class WebhookSender:
    """Sends webhooks, some at a time, and keeps what was answered. Safe for threads."""

    def __init__(self) -> None:
        self.settings = Webhooks()
        self._sent: deque[dict[str, Any]] = deque(maxlen=MAX_KEPT)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="sandbox-webhooks")
        self._conversations: dict[str, str] = {}

    def events(self, call_id: str, number: str, status: str) -> list[tuple[float, dict[str, Any]]]:
        """Return what is sent of one thing that happens to a transfer, each with its delay in seconds."""
        settings = self.settings
        if not settings.url:
            return []
        leg_b = {
            **self._of_call(call_id),
            "leg": "b",
            "to": _as_number(number),
            "cmiuuid": secrets.token_hex(16),
        }
        prefix = "in" if settings.is_inbound else "out"
        if status == RINGING:
            return [(0.0, {**leg_b, "status": f"{prefix}_started"})]
        if status == CONNECTED:
            return [(0.0, {**leg_b, "status": f"{prefix}_bridged"})]
        cdr = {
            **leg_b,
            "type": "cdr",
            "status": "missed",
            "duration": 0,
            "call_rate": 0,
            "balance": "76.349024",
        }
        return [(after, cdr) for after in (0.0, *settings.cdr_again_seconds)]

    def first_leg(self, call_id: str) -> list[dict[str, Any]]:
        """Return what is sent of a call itself, once: that its first leg was answered."""
        settings = self.settings
        if not settings.url or call_id in self._conversations:
            return []
        status = "in_answered" if settings.is_inbound else "out_answered"
        return [
            {
                **self._of_call(call_id),
                "leg": "a",
                "status": status,
                "cmiuuid": call_id,
                "to": _VIRTUAL_NUMBER,
            }
        ]

    def send(self, body: dict[str, Any]) -> None:
        """Send one; what comes of it is in `sent`."""
        self._pool.submit(self._post, self.settings, body)

    def sent(self) -> list[dict[str, Any]]:
        """Return what was sent: each body, and the status that was answered or the error."""
        return list(self._sent)

    def close(self) -> None:
        """Send no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _of_call(self, call_id: str) -> dict[str, Any]:
        is_inbound = self.settings.is_inbound
        token = call_id if is_inbound else secrets.token_urlsafe(32)
        conversation = self._conversations.setdefault(call_id, token)
        fields: dict[str, Any] = {
            "appid": _APP_ID,
            "conversation_uuid": conversation,
            "direction": "inbound" if is_inbound else "outbound",
            "extra_params": "{}",
            "from": _VIRTUAL_NUMBER,
            "time": round(time.time() * 1000),
        }
        return fields if is_inbound else {**fields, "callerid": _VIRTUAL_NUMBER, "request_id": conversation}

    def _post(self, settings: Webhooks, body: dict[str, Any]) -> None:
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.post(
                    settings.url,
                    json=body,
                    headers=dict(settings.headers),
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
                outcome: dict[str, Any] = {"status": answer.status_code}
            except requests.RequestException as error:
                outcome = {"error": type(error).__name__}
        self._sent.append({"body": body, **outcome})


def _as_number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
