"""docs/outcomes.md's table of answers: the page, the code and a real socket say the same, row by row."""

from __future__ import annotations

import select
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.connect_proxy import ConnectProxy
from support.far_end import FarEnd, make_answer
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway import PiopiyGateway, connection
from transfer_worker.gateway.rules import RULES, ReceivedAnswer, find_rule

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"
CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PIPELINE = [{"action": "hangup"}]
KNOWN = {
    None: "accepted",
    NotCarriedOut: "not carried out",
    Refused: "refused",
    OutcomeUnknown: "may have been carried out",
}
NO = b'{"error": "no"}'
PAGE_OF_A_PROXY = b"<html><h1>Service Unavailable</h1></html>"

# Statuses and bodies that each rule decides; a body that ends in "…" breaks off there.
EXAMPLES: dict[str, list[tuple[int, bytes, tuple[str, ...]]]] = {
    "success_refused": [
        (200, b'{"error": "CALL_NOT_FOUND", "code": 404}', ()),
        (201, b'{"success": false, "status": 422}', ()),
        (200, b'{"message": "queued", "code": 401.0}', ()),
    ],
    "success_in_progress": [(200, b'{"error": "transfer_in_progress", "code": 409}', ())],
    "success_says_no": [
        (200, b'{"success": false}', ()),
        (200, b'{"error": {"text": "try later"}}', ()),
        (202, b'{"error": "upstream", "code": 500}', ()),
        (200, b'{"code": 408}', ()),
        (200, b'{"code": 404, "status": 503}', ()),
        (200, b'{"status": "failed", "reason": "busy"}', ()),
    ],
    "accepted": [
        (200, b'{"message": "queued"}', ()),
        (202, b'{"message": "queued", "request_id": "r-1", "status": "queued"}', ()),
        (200, b'{"success": true, "error": "", "code": 200, "status": 202}', ()),
        (201, b'{"error": null, "code": "404"}', ()),
        (200, b"{}", ()),
    ],
    "success_lost": [(200, b'{"message": "queu\xe2\x80\xa6', ())],
    "success_empty": [(200, b"", ()), (204, b"", ())],
    "success_unreadable": [
        (200, PAGE_OF_A_PROXY, ("Content-Type: text/html",)),
        (200, b'["queued"]', ()),
        (202, b'{"message": "que', ()),
        (200, b"null", ()),
        (200, b"\xff\xfe\x00", ()),
    ],
    "rate_limited": [
        (429, b'{"error": "rate_limited"}', ()),
        (429, b"Please slow down.", ("Retry-After: 1",)),
        (429, b"", ()),
        (429, b'{"message": "Too Many Requ\xe2\x80\xa6', ()),
    ],
    "unavailable": [
        (503, b'{"error": "unavailable"}', ()),
        (503, b'{"error": "unavailable", "request_id": "r-1"}', ("Retry-After: 1",)),
    ],
    "unavailable_elsewhere": [
        (503, b'{"message": "Service Unavailable"}', ()),
        (503, b'{"message": "Service Unavailable"}', ("Retry-After: 1",)),
        (
            503,
            b"upstream connect error or disconnect/reset before headers. reset reason: connection failure",
            (),
        ),
        (503, PAGE_OF_A_PROXY, ()),
        (503, b"", ("Retry-After: 1",)),
        (503, b'{"error": {"code": 503}}', ()),
        (503, b'{"error": ""}', ()),
        (503, b'["error"]', ()),
        (503, b'{"error": "unavail\xe2\x80\xa6', ()),
    ],
    "unauthorized": [(401, NO, ()), (403, NO, ()), (403, PAGE_OF_A_PROXY, ()), (401, b"", ())],
    "call_not_found": [(404, b'{"error": "CALL_NOT_FOUND"}', ()), (410, b'{"error": "call_ended"}', ())],
    "address_not_found": [
        (404, b"404 page not found", ()),
        (404, b"", ()),
        (404, b'"not found"', ()),
        (410, PAGE_OF_A_PROXY, ()),
        (404, b'{"error": "CALL_NOT\xe2\x80\xa6', ()),
    ],
    "in_progress": [(409, b'{"error": "transfer_in_progress", "request_id": "r-7"}', ()), (409, b"", ())],
    "timed_out": [(408, NO, ()), (408, b"", ())],
    "refused": [
        (status, body, ()) for status in (400, 402, 405, 407, 413, 422, 425, 451, 499) for body in (NO, b"")
    ],
    "server_error": [(status, body, ()) for status in (500, 501, 502, 504, 520, 599) for body in (NO, b"")],
    "redirect": [
        (status, b"moved", ("Location: /v3/voice/pcmo/transfer",)) for status in (300, 301, 302, 307, 308)
    ],
    "strange": [(101, b"", ()), (600, NO, ()), (799, b'{"message": "queued"}', ())],
}


def be_silent(connection: socket.socket, _number: int) -> None:
    while connection.recv(65536):
        """Take everything, say nothing, until the client leaves."""


def hang_up(_connection: socket.socket, _number: int) -> None:
    """Close without an answer."""


def reset(connection: socket.socket, _number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(piece: bytes) -> Callable[[socket.socket, int], None]:
    def respond(connection: socket.socket, _number: int) -> None:
        connection.sendall(piece)

    return respond


# What the page says of a request that is not answered: its row, and ways to bring it about.
SILENCES: dict[str, list[Callable[[socket.socket, int], None]]] = {
    "none: silence, a closed or reset connection": [be_silent, hang_up, reset],
    "none: what is not HTTP, or its head broke off": [
        say(b"220 mail.example ESMTP\r\n"),
        say(b"HTTP/1.1 20"),
    ],
    "none: interim answers (1xx) and no final one": [say(b"HTTP/1.1 103 Early Hints\r\n\r\n")],
}


@pytest.fixture
def send():
    """Return a function that sends one request, and returns what was raised, or the acceptance."""
    made: list[PiopiyGateway] = []

    def send_one(base_url: str, *, timeout_seconds: float = 5.0, proxy_url: str | None = None, **options):
        gateway = PiopiyGateway(
            token="secret", base_url=base_url, timeout_seconds=timeout_seconds, proxy_url=proxy_url
        )
        made.append(gateway)
        try:
            return gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key="key:1", **options)
        except AttemptError as error:
            return error

    yield send_one
    for gateway in made:
        gateway.close()


def read_rows(heading: str) -> list[list[str]]:
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


ANSWER_ROWS = read_rows("What an answer proves")
SILENCE_ROWS = {row[0]: row[1:] for row in read_rows("What silence proves")}


def make_bytes(status: int, body: bytes, headers: tuple[str, ...]) -> tuple[bytes, bool]:
    """Return the answer, and whether it is whole."""
    is_whole = not body.endswith("…".encode())
    sent = body if is_whole else body.removesuffix("…".encode())
    answer = make_answer(status, body, *headers)
    return (answer if is_whole else answer[: -len(body)] + sent), is_whole


def test_the_page_has_the_rows_of_the_code_in_their_order():
    rows = [[rule.status, rule.body, KNOWN[rule.known], f"`{rule.reason}`", rule.source] for rule in RULES]
    assert rows == ANSWER_ROWS


def test_every_row_has_its_examples():
    assert {rule.name for rule in RULES} == {"doubtful", "doubtful_broken_off", *EXAMPLES}
    assert set(SILENCE_ROWS) == {*SILENCES, *NOT_WRITTEN}


@pytest.mark.parametrize(
    ("name", "status", "body", "headers"),
    [(name, *example) for name, examples in EXAMPLES.items() for example in examples],
)
def test_an_answer_proves_what_its_row_says_and_costs_one_post(send, name, status, body, headers):
    answer, is_whole = make_bytes(status, body, headers)
    rule = next(rule for rule in RULES if rule.name == name)

    def respond(connection: socket.socket, _number: int) -> bool:
        connection.sendall(answer)
        return is_whole

    with FarEnd(respond) as far_end:
        seen = send(far_end.url)
    received = ReceivedAnswer(status, {}, body if is_whole else None)
    assert find_rule(received, received.parse()) is rule
    assert len(far_end.requests) == 1
    assert seen.http_status == status
    if rule.known is None:
        assert not isinstance(seen, AttemptError)
    else:
        assert (type(seen), seen.reason) == (rule.known, rule.reason)


def test_an_answer_that_may_be_an_earlier_requests_proves_nothing():
    def respond(connection: socket.socket, number: int) -> bool:
        queued = make_answer(200, b'{"message": "queued"}')
        connection.sendall(queued if number == 1 else make_answer(429, NO) + queued)
        return True

    with FarEnd(respond) as far_end:
        gateway = PiopiyGateway(token="secret", base_url=far_end.url, timeout_seconds=5)
        gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key="key:1")
        with pytest.raises(OutcomeUnknown) as raised:
            gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key="key:2")
        gateway.close()
    assert (raised.value.reason, raised.value.http_status) == (RULES[0].reason, 429)


@pytest.mark.parametrize(
    ("row", "respond"), [(row, respond) for row, ways in SILENCES.items() for respond in ways]
)
def test_a_request_without_an_answer_may_have_been_carried_out(send, row, respond):
    with FarEnd(respond) as far_end:
        error = send(far_end.url, timeout_seconds=0.3)
    assert [KNOWN[type(error)], f"`{error.reason}`"] == SILENCE_ROWS[row][:2]
    assert len(far_end.requests) == 1


def no_name(send):
    return send("http://nothing.invalid/v3")


def no_connection(send):
    return send("http://127.0.0.1:1/v3")


def no_tls(send):
    with FarEnd(say(b"220 mail.example ESMTP\r\n"), reads=False) as far_end:
        return send(far_end.url.replace("http:", "https:"))


def spoken_to(send):
    spoken = threading.Event()

    def respond(connection: socket.socket, _number: int) -> None:
        connection.sendall(make_answer(503, NO))
        spoken.set()
        assert connection.recv(65536) == b""

    connect = connection.create_connection

    def connect_and_wait(*arguments):
        connected = connect(*arguments)
        assert spoken.wait(5)
        assert select.select([connected], [], [], 5)[0]
        return connected

    with FarEnd(respond, reads=False) as far_end, pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "create_connection", connect_and_wait)
        return send(far_end.url)


def refused_by_the_proxy(send):
    with ConnectProxy(refusal=b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as proxy:
        return send("https://127.0.0.1:1/v3", proxy_url=proxy.url)


def held_up(send):
    with FarEnd(say(b"")) as far_end:
        return send(far_end.url, write_within_seconds=0.0)


NOT_WRITTEN = {
    "nothing was written: no name, no connection, no TLS": [no_name, no_connection, no_tls],
    "nothing was written: the far end spoke before it was asked": [spoken_to],
    "nothing was written: the proxy refused to connect": [refused_by_the_proxy],
    "nothing was written: held up too long": [held_up],
}


@pytest.mark.parametrize(("row", "ask"), [(row, ask) for row, ways in NOT_WRITTEN.items() for ask in ways])
def test_a_request_that_was_not_written_was_not_carried_out(send, row, ask):
    error = ask(send)
    assert [KNOWN[type(error)], f"`{error.reason}`"] == SILENCE_ROWS[row][:2]


def test_every_status_with_every_kind_of_body_has_a_rule_and_few_prove_anything():
    """Every status with every kind of body: what is proof is named here once more, apart from the list."""
    bodies = [None, b"", b"text", b"[]", b"{}", NO, b'{"error": {}}', b'{"success": false}', b'{"code": 404}']
    for status in range(101, 1000):
        for body in bodies:
            received = ReceivedAnswer(status, {}, body)
            known = find_rule(received, received.parse()).known
            if known is None:
                assert 200 <= status < 300
                assert body in {b"{}", b'{"error": {}}'}
            elif known is NotCarriedOut:
                assert status == 429 or (status == 503 and body == NO)
            elif known is Refused:
                assert (400 <= status < 500 and status not in {408, 429}) or body == b'{"code": 404}'


def test_every_reason_of_the_table_belongs_to_the_ending_that_follows():
    endings = {None: State.SUBMITTED, NotCarriedOut: State.FAILED, Refused: State.REJECTED}
    for rule in RULES:
        assert GUIDE[Reason(rule.reason)].state is endings.get(rule.known, State.UNKNOWN)
