"""The receiver's HTTP side: who may post, how much and how often, and when a 2xx is honest.

::

    the secrets? 404 ──▶ too many? 429 ──▶ the body, bounded? 408, 413 ──▶ JSON? 400 ──▶ in Redis? 503 ──▶ 204

Of a body nothing is logged or shown: it holds numbers and money.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from transfer_tasks.errors import LedgerUnavailable
from transfer_worker.webhooks.reading import UnreadableWebhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from transfer_worker.webhooks.matching import Matcher

MAX_BODY_BYTES: Final = 64 * 1024
"""A CDR has one kilobyte."""

BODY_SECONDS: Final = 5.0
MAX_WAITING: Final = 32
"""How many webhooks may wait for Redis at a time; more are answered with 503."""

HEADER: Final = "X-Webhook-Secret"


class Rate:
    """So many a second, and as many at once.

    Args:
        per_second: How many.
        clock: Seconds that only grow.
    """

    def __init__(self, per_second: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._left, self._at = float(per_second), clock()

    def allows(self) -> bool:
        """Whether there is room for one more; it is taken then."""
        now = self._clock()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Receiver:
    """Answers each request.

    Args:
        matcher: Takes what may be taken.
        secret: The last part of the address.
        header_secret: What the header must hold; None where it need not be there.
        rate: How often whoever knows the secrets may post.

    Attributes:
        counts: What became of the requests, by a word each.
    """

    def __init__(self, matcher: Matcher, *, secret: str, header_secret: str | None, rate: Rate) -> None:
        self._matcher, self._rate = matcher, rate
        self._secret, self._header_secret = secret, header_secret
        self._waiting = 0
        self.body_seconds = BODY_SECONDS
        self.counts: Counter[str] = Counter()

    def build_app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/webhooks/{secret}", self.receive, methods=["POST"]),
                Route("/health", lambda _: PlainTextResponse("ok\n"), methods=["GET"]),
            ]
        )

    async def receive(self, request: Request) -> Response:
        """Take one webhook; 204 says that it is on record, or that it says nothing."""
        if not self._is_known(request):
            return self._refuse("wrong_secret", 404)
        if not self._rate.allows():
            return self._refuse("rate_limited", 429)
        try:
            async with asyncio.timeout(self.body_seconds):
                body = await _read_body(request)
        except TimeoutError:
            return self._refuse("too_slow", 408)
        except ClientDisconnect:
            return self._refuse("broken_off", 400)
        if body is None:
            return self._refuse("too_large", 413)
        if self._waiting >= MAX_WAITING:
            return self._refuse("too_many", 503)
        self._waiting += 1
        try:
            taken = await run_in_threadpool(self._matcher.take, body)
        except UnreadableWebhook:
            return self._refuse("unreadable", 400)
        except LedgerUnavailable:
            return self._refuse("redis_away", 503)
        finally:
            self._waiting -= 1
        self.counts.update(taken)
        return Response(status_code=204)

    def _is_known(self, request: Request) -> bool:
        """Compare in the time that depends on nothing; each secret is looked at, whatever the other says."""
        in_path = _is_equal(request.path_params["secret"], self._secret)
        wanted = self._header_secret
        in_header = wanted is None or _is_equal(request.headers.get(HEADER, ""), wanted)
        return in_path and in_header

    def _refuse(self, why: str, status: int) -> Response:
        self.counts[why] += 1
        return Response(status_code=status, headers={"Retry-After": "5"} if status in {429, 503} else {})


def _is_equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


async def _read_body(request: Request) -> bytes | None:
    """Return the body; None where it is longer than any webhook."""
    length = request.headers.get("Content-Length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
