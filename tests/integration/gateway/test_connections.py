"""One call's answer is never taken for another's: what a far end says early, late or too much."""

from __future__ import annotations

import json
import select
import threading
import time
from typing import TYPE_CHECKING

import pytest

from support.far_end import FarEnd, make_answer
from support.metronome import within
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway import PiopiyGateway
from transfer_worker.gateway import connection as noted
from transfer_worker.gateway.exchange import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    import socket

CALL_A = "0f8fad5b-d9cb-469f-a165-70867728950e"
CALL_B = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
PIPELINE = [{"action": "hangup"}]
QUEUED = b'{"message": "queued"}'
INTERIM = {102: b"HTTP/1.1 102 Processing\r\n\r\n", 103: b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"}
FINAL = {
    200: (200, QUEUED, type(None), None),
    404: (404, b'{"error": "CALL_NOT_FOUND"}', Refused, Reason.CALL_NOT_FOUND),
    503: (503, b'{"error": "unavailable"}', NotCarriedOut, Reason.PLATFORM_UNAVAILABLE),
}


@pytest.fixture
def make_gateway():
    made: list[PiopiyGateway] = []

    def make(far_end: FarEnd, timeout_seconds: float = 5.0, **options) -> PiopiyGateway:
        made.append(
            PiopiyGateway(token="secret", base_url=far_end.url, timeout_seconds=timeout_seconds, **options)
        )
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


def ask(gateway: PiopiyGateway, call_id: str) -> AttemptError | None:
    """Send one request; return what was raised, None for an acceptance."""
    try:
        gateway.send(call_id=call_id, pipeline=PIPELINE, idempotency_key=f"{call_id}:1")
    except AttemptError as error:
        return error
    return None


def say(*pieces: bytes):
    """Answer the first request with `pieces`, each later one with an acceptance."""

    def respond(connection: socket.socket, number: int) -> bool:
        for piece in pieces if number == 1 else (make_answer(200, QUEUED),):
            connection.sendall(piece)
        return True

    return respond


# ── interim answers ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("final", FINAL)
@pytest.mark.parametrize("interim", INTERIM)
def test_an_interim_answer_is_read_past_and_the_final_one_is_its_own_calls(make_gateway, interim, final):
    status, body, kind, reason = FINAL[final]
    may_go_on = threading.Event()

    def respond(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.sendall(INTERIM[interim])
            may_go_on.wait(0.2)  # so that a client that takes the interim answer for the last one shows it
            connection.sendall(make_answer(status, body))
        else:
            connection.sendall(make_answer(200, QUEUED))
        return True

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end)
        first, second = ask(gateway, CALL_A), ask(gateway, CALL_B)
    assert (type(first), first and first.reason) == (kind, reason)
    assert second is None
    assert [json.loads(request.body)["call_id"] for request in far_end.requests] == [CALL_A, CALL_B]


def test_several_interim_answers_in_one_piece_with_the_final_one_are_read_past(make_gateway):
    whole = INTERIM[102] + b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM[103] + make_answer(200, QUEUED)
    with FarEnd(say(whole)) as far_end:
        gateway = make_gateway(far_end)
        assert ask(gateway, CALL_A) is None
        assert ask(gateway, CALL_B) is None
    assert far_end.connection_count == 1


def test_interim_answers_without_a_final_one_end_on_time_and_are_unknown(make_gateway):
    def respond(connection: socket.socket, _number: int) -> None:
        while True:
            connection.sendall(INTERIM[103])
            time.sleep(0.02)

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end, 0.3)
        with within(gateway.attempt_bound_seconds + 0.5):
            error = ask(gateway, CALL_A)
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)


def test_interim_answers_count_to_what_an_answer_may_be_long(make_gateway):
    many = INTERIM[103] * (MAX_ANSWER_BYTES // len(INTERIM[103]) + 1)
    with FarEnd(say(many, make_answer(200, QUEUED))) as far_end:
        error = ask(make_gateway(far_end), CALL_A)
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)


def test_a_switch_of_protocols_that_nobody_asked_for_is_unknown_and_ends_the_connection(make_gateway):
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    with FarEnd(say(switch)) as far_end:
        gateway = make_gateway(far_end)
        error = ask(gateway, CALL_A)
        assert ask(gateway, CALL_B) is None
    assert (type(error), error.reason, error.http_status) == (OutcomeUnknown, Reason.ANSWER_UNREADABLE, 101)
    assert far_end.connection_count == 2


# ── what is left over, early or unasked ───────────────────────────────────────────────────────────────────

LEFT_OVER = {
    "another answer": make_answer(503, b'{"error": "unavailable"}'),
    "half an answer": b"HTTP/1.1 404 Not Found\r\nContent-Le",
    "a line break": b"\r\n",
    "text": b"<!-- served by cache-7 -->",
}


@pytest.mark.parametrize("left_over", LEFT_OVER.values(), ids=LEFT_OVER)
@pytest.mark.parametrize("is_one_piece", [True, False])
def test_a_connection_with_bytes_left_over_is_never_used_again(make_gateway, left_over, is_one_piece):
    sent = threading.Event()
    pieces = [make_answer(200, QUEUED), left_over]

    def respond(connection: socket.socket, number: int) -> bool:
        if number > 1:
            connection.sendall(make_answer(200, QUEUED))
        else:
            for piece in [b"".join(pieces)] if is_one_piece else pieces:
                connection.sendall(piece)
            sent.set()
        return True

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end)
        assert ask(gateway, CALL_A) is None
        sent.wait(5)
        assert ask(gateway, CALL_B) is None
    assert far_end.connection_count == 2


def test_an_answer_with_bytes_left_over_is_not_believed_where_it_may_be_an_earlier_calls(make_gateway):
    """The late answer to A comes after B was written, its own right behind: nobody can say which it is."""
    late = make_answer(503, b'{"error": "unavailable"}')

    def respond(connection: socket.socket, number: int) -> bool:
        connection.sendall(make_answer(200, QUEUED) if number == 1 else late + make_answer(200, QUEUED))
        return True

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end)
        assert ask(gateway, CALL_A) is None
        error = ask(gateway, CALL_B)
        assert far_end.connection_count == 1
    assert (type(error), error.reason, error.http_status) == (OutcomeUnknown, Reason.ANSWER_UNREADABLE, 503)


def test_an_answer_that_breaks_off_is_lost_on_a_kept_connection_as_on_a_new_one(make_gateway):
    def respond(connection: socket.socket, number: int) -> bool:
        connection.sendall(make_answer(200, QUEUED) if number == 1 else make_answer(200, QUEUED)[:-2])
        return number == 1

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end)
        assert ask(gateway, CALL_A) is None
        error = ask(gateway, CALL_B)
        assert far_end.connection_count == 1
    assert (type(error), error.reason, error.http_status) == (OutcomeUnknown, Reason.ANSWER_LOST, 200)


@pytest.mark.parametrize(
    "late",
    [
        b"HTTP/1.1 404 Not F",
        b"HTTP/1.1 404 Not Found\r\nContent-Ty",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n",
        make_answer(404, b'{"error": "CALL_NOT_FOUND"}')[:-2],
        make_answer(429, b"slow down")[:-1],
    ],
    ids=["reason", "headers", "head", "body", "429"],
)
def test_the_beginning_of_a_late_answer_does_not_make_up_one_with_the_real_answer(make_gateway, late):
    def respond(connection: socket.socket, number: int) -> bool:
        connection.sendall((b"" if number == 1 else late) + make_answer(200, QUEUED))
        return True

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end, 0.5)
        assert ask(gateway, CALL_A) is None
        error = ask(gateway, CALL_B)
    assert isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize("missing_bytes", [1, 2, 5, 8, 12])
def test_a_late_answer_whose_end_the_real_ones_beginning_makes_up_is_not_believed(
    make_gateway, missing_bytes
):
    late, real = make_answer(429, b"Please slow down."), make_answer(200, QUEUED)
    client_is_done = threading.Event()

    def respond(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.sendall(real)
            return True
        connection.sendall(late[:-missing_bytes] + real[:missing_bytes])
        client_is_done.wait(5)
        return False

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end)
        assert ask(gateway, CALL_A) is None
        error = ask(gateway, CALL_B)
        client_is_done.set()
    assert isinstance(error, OutcomeUnknown)


@pytest.mark.parametrize(
    "piece",
    [
        make_answer(429, b'{"error": "rate_limited"}')[:-5],
        b"HTTP/1.1 404 Not Found\r\nContent-Ty",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 404 Not Found\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\nNot",  # its end is the connection's
    ],
)
def test_what_breaks_off_on_a_used_connection_is_not_believed(make_gateway, piece):
    def respond(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.sendall(make_answer(200, QUEUED))
            return True
        connection.sendall(piece)
        return False

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end)
        assert ask(gateway, CALL_A) is None
        assert isinstance(ask(gateway, CALL_B), OutcomeUnknown)


def test_a_server_that_speaks_before_it_is_asked_is_sent_nothing(make_gateway, monkeypatch):
    def respond(connection: socket.socket, _number: int) -> None:
        connection.sendall(make_answer(503, b'{"error": "unavailable"}'))
        spoken.set()
        while connection.recv(65536):
            read.set()

    spoken, read = threading.Event(), threading.Event()
    with FarEnd(respond, reads=False) as far_end:
        connect = noted.create_connection

        def connect_and_wait(*arguments):
            connected = connect(*arguments)
            assert spoken.wait(5)
            assert select.select([connected], [], [], 5)[0]
            return connected

        monkeypatch.setattr(noted, "create_connection", connect_and_wait)
        error = ask(make_gateway(far_end), CALL_A)
    assert (type(error), error.reason) == (NotCarriedOut, Reason.PLATFORM_UNREACHABLE)
    assert not read.is_set()


def test_without_keep_alive_each_request_has_a_connection_of_its_own(make_gateway):
    with FarEnd(say(make_answer(200, QUEUED))) as far_end:
        gateway = make_gateway(far_end, keeps_alive=False)
        for call_id in (CALL_A, CALL_B, CALL_A):
            assert ask(gateway, call_id) is None
    assert far_end.connection_count == 3
    assert [request.headers["connection"] for request in far_end.requests] == ["close"] * 3
