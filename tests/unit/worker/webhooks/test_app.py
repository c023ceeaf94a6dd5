"""The receiver's door: who may post, how much, how often, how slowly; and when a 2xx is honest."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

from support import wait_until_async
from transfer_tasks.errors import LedgerUnavailable
from transfer_worker.webhooks.app import MAX_BODY_BYTES, MAX_WAITING, Rate, Receiver
from transfer_worker.webhooks.reading import UnreadableWebhook

SECRET = "s3cret-of-twenty-four-chars"
HEADER_SECRET = "another-s3cret-of-the-header"


class FakeMatcher:
    def __init__(self, failure: Exception | None = None) -> None:
        self.bodies: list[bytes] = []
        self.failure = failure
        self.gate = threading.Event()
        self.gate.set()

    def take(self, body: bytes) -> list[str]:
        self.gate.wait(30)
        if self.failure:
            raise self.failure
        self.bodies.append(body)
        return ["matched"]


def make(matcher=None, *, header_secret=None, rate=1000):
    receiver = Receiver(
        matcher or FakeMatcher(),
        secret=SECRET,
        header_secret=header_secret,
        rate=Rate(rate, clock=lambda: 0.0),
    )
    return receiver, receiver.build_app()


async def post(app, *, secret=SECRET, body=b"{}", headers=(), pieces=None, method="POST", length=None):
    """Return the status of one request; `pieces` are what arrives, None for a client that leaves."""
    arriving = iter(pieces if pieces is not None else [body])
    sent: list[dict] = []

    async def receive():
        try:
            piece = next(arriving)
        except StopIteration:
            return {"type": "http.request", "body": b"", "more_body": False}
        if piece == "wait":
            await asyncio.Event().wait()
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message):
        sent.append(message)

    all_headers = [(b"content-length", str(len(body) if length is None else length).encode()), *headers]
    scope = {
        "type": "http",
        "method": method,
        "path": f"/webhooks/{secret}",
        "headers": all_headers,
        "query_string": b"",
    }
    await app(scope, receive, send)
    return next(message["status"] for message in sent if message["type"] == "http.response.start")


async def test_what_is_taken_is_a_204():
    matcher = FakeMatcher()
    receiver, app = make(matcher)
    assert await post(app, body=b'{"a":1}') == 204
    assert (matcher.bodies, receiver.counts) == ([b'{"a":1}'], Counter(matched=1))


@pytest.mark.parametrize(
    "secret", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), "\udcff", "é" * 24]
)
async def test_a_wrong_secret_is_a_404_and_nothing_is_read(secret):
    matcher = FakeMatcher()
    _, app = make(matcher)
    assert await post(app, secret=secret, pieces=["wait"]) == 404
    assert matcher.bodies == []


@pytest.mark.parametrize(
    ("given", "status"), [(HEADER_SECRET, 204), (HEADER_SECRET[:-1], 404), (SECRET, 404), (None, 404)]
)
async def test_where_a_header_is_asked_for_both_must_be_right(given, status):
    _, app = make(header_secret=HEADER_SECRET)
    headers = [] if given is None else [(b"x-webhook-secret", given.encode())]
    assert await post(app, headers=headers) == status
    assert await post(app, headers=headers, secret="wrong") == 404


async def test_a_secret_is_compared_in_constant_time(monkeypatch):
    compared = []
    from transfer_worker.webhooks import app as module

    real = module.hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    _, app = make(header_secret=HEADER_SECRET)
    await post(app, secret="wrong")
    assert len(compared) == 2


@pytest.mark.parametrize("length", [MAX_BODY_BYTES + 1, 10**12, "many", "-1", ""])
async def test_a_length_that_no_webhook_has_is_a_413_unread(length):
    _, app = make()
    assert await post(app, length=length, pieces=["wait"]) == 413


async def test_a_body_longer_than_it_says_is_a_413():
    matcher = FakeMatcher()
    _, app = make(matcher)
    assert await post(app, length=2, pieces=[b"x" * MAX_BODY_BYTES, b"x", "wait"]) == 413
    assert matcher.bodies == []


async def test_a_slow_body_is_a_408_and_a_broken_one_a_400():
    receiver, app = make()
    receiver.body_seconds = 0.05
    assert await post(app, pieces=[b"{", "wait"]) == 408
    receiver.body_seconds = 30
    assert await post(app, pieces=[b"{", None]) == 400


async def test_more_than_the_rate_is_a_429_and_strangers_use_none_of_it():
    receiver, app = make(rate=2)
    for _ in range(5):
        assert await post(app, secret="wrong") == 404
    assert [await post(app) for _ in range(3)] == [204, 204, 429]
    assert receiver.counts == Counter(wrong_secret=5, matched=2, rate_limited=1)


def test_the_rate_fills_up_again():
    now = [0.0]
    rate = Rate(2, clock=lambda: now[0])
    assert [rate.allows() for _ in range(3)] == [True, True, False]
    now[0] = 0.5
    assert [rate.allows() for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [rate.allows() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("failure", "status", "word"),
    [
        (LedgerUnavailable("away"), 503, "redis_away"),
        (UnreadableWebhook(), 400, "unreadable"),
    ],
)
async def test_no_2xx_where_it_is_not_in_redis(failure, status, word):
    receiver, app = make(FakeMatcher(failure))
    assert await post(app) == status
    assert receiver.counts == Counter({word: 1})


async def test_only_so_many_wait_for_redis():
    matcher = FakeMatcher()
    matcher.gate.clear()
    receiver, app = make(matcher)
    waiting = [asyncio.create_task(post(app)) for _ in range(MAX_WAITING)]
    await wait_until_async(lambda: receiver._waiting == MAX_WAITING)
    assert await post(app) == 503
    matcher.gate.set()
    assert await asyncio.gather(*waiting) == [204] * MAX_WAITING
    assert await post(app) == 204


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_nothing_else_is_answered(method):
    _, app = make()
    assert await post(app, method=method) == 405
