"""Every row of the gateway's table, proven against a real socket, with the POSTs counted at the far end."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.far_end import FarEnd, make_answer
from support.metronome import within
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway import MAX_IDLE_SECONDS, PiopiyGateway
from transfer_worker.gateway.classification import MAX_KEPT_ANSWER_CHARS
from transfer_worker.gateway.exchange import MAX_ANSWER_BYTES

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
NUMBER = "12025550143"
TOKEN = "secret-token"
QUEUED = b'{"message": "queued", "request_id": "r-1"}'
PIPELINE = [
    {
        "action": "connect",
        "params": {"caller_id": "12025550100"},
        "endpoints": [{"type": "pstn", "number": NUMBER}],
    }
]
SHORT_SECONDS = 0.25


def answer(status: int, body: bytes = b"", *headers: str):
    def respond(connection: socket.socket, _number: int) -> bool:
        connection.sendall(make_answer(status, body, *headers))
        return True

    return respond


def be_silent(connection: socket.socket, _number: int) -> None:
    while connection.recv(65536):
        """Take everything, say nothing, until the client leaves."""


def hang_up(_connection: socket.socket, _number: int) -> None:
    """Close without an answer."""


def reset(connection: socket.socket, _number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def talk_nonsense(connection: socket.socket, _number: int) -> None:
    connection.sendall(b"220 mail.example ESMTP 12025550143\r\n")


def answer_half(status: int, body: bytes):
    def respond(connection: socket.socket, _number: int) -> None:
        whole = make_answer(status, body)
        connection.sendall(whole[: -len(body) // 2])

    return respond


class Drip:
    """Sends an answer byte by byte, each well within a read timeout."""

    def __init__(self, head: bytes) -> None:
        self.head, self.ending = head, threading.Event()

    def __call__(self, connection: socket.socket, _number: int) -> None:
        connection.sendall(self.head)
        while not self.ending.wait(0.02):
            connection.sendall(b"x")


@pytest.fixture
def make_gateway():
    made: list[PiopiyGateway] = []

    def make(base_url: str, timeout_seconds: float = 5.0) -> PiopiyGateway:
        made.append(PiopiyGateway(token=TOKEN, base_url=base_url, timeout_seconds=timeout_seconds))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


def send(gateway: PiopiyGateway, **options):
    return gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key="key:1", **options)


def failure_of(gateway: PiopiyGateway, **options) -> AttemptError:
    with pytest.raises(AttemptError) as raised:
        send(gateway, **options)
    return raised.value


# ── accepted ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_2xx_with_a_json_object_is_accepted_and_kept_whole(make_gateway, status):
    with FarEnd(answer(status, QUEUED)) as far_end:
        accepted = send(make_gateway(far_end.url))
    assert (accepted.http_status, accepted.body) == (status, json.loads(QUEUED))
    (request,) = far_end.requests
    assert request.line == "POST /v3/voice/pcmo/transfer HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.body) == {"call_id": CALL_ID, "pipeline": PIPELINE}


def test_each_request_carries_its_own_idempotency_key(make_gateway):
    with FarEnd(answer(200, QUEUED)) as far_end:
        gateway = make_gateway(far_end.url)
        for key in ("first", "zweiter Schlüssel\r\nX-Evil: 1"):
            gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key=key)
    keys = [request.headers["idempotency-key"] for request in far_end.requests]
    assert keys == ["first", "zweiter%20Schl%C3%BCssel%0D%0AX-Evil:%201"]
    assert not any("x-evil" in request.headers for request in far_end.requests)


def test_nothing_of_one_request_is_left_in_the_next(make_gateway):
    pipelines = [
        [{**PIPELINE[0], "params": {"caller_id": "12025550100", "metadata": {"note": "x" * n}}}]
        for n in (900, 3)
    ]
    with FarEnd(answer(200, QUEUED)) as far_end:
        gateway = make_gateway(far_end.url)
        for number, pipeline in enumerate(pipelines):
            gateway.send(
                call_id=f"{CALL_ID[:-1]}{number}", pipeline=pipeline, idempotency_key=f"key-{number}"
            )
    for number, (request, pipeline) in enumerate(zip(far_end.requests, pipelines, strict=True)):
        assert json.loads(request.body) == {"call_id": f"{CALL_ID[:-1]}{number}", "pipeline": pipeline}
        assert request.headers["idempotency-key"] == f"key-{number}"
        assert int(request.headers["content-length"]) == len(request.body)


def test_a_request_leaves_in_one_piece(make_gateway):
    pieces: list[bytes] = []

    def respond(connection: socket.socket, _number: int) -> None:
        while piece := connection.recv(65536):
            pieces.append(piece)
            if piece.endswith(b"}]}"):
                connection.sendall(make_answer(200, QUEUED))

    with FarEnd(respond, reads=False) as far_end:
        gateway = make_gateway(far_end.url)
        for _ in range(20):
            send(gateway)
        gateway.close()
    assert [piece.partition(b" ")[0] for piece in pieces] == [b"POST"] * 20


def test_a_long_answer_is_accepted_and_kept_in_part(make_gateway):
    body = json.dumps({"message": "queued", "padding": "x" * MAX_KEPT_ANSWER_CHARS}).encode()
    with FarEnd(answer(200, body)) as far_end:
        accepted = send(make_gateway(far_end.url))
    assert accepted.body == body.decode()[:MAX_KEPT_ANSWER_CHARS]


@pytest.mark.parametrize(
    "body", [b'{"a": NaN}', rb'{"a": "\ud800"}', b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}"]
)
def test_an_answer_that_can_not_be_written_again_as_json_can_still_be_recorded(make_gateway, body):
    with FarEnd(answer(200, body)) as far_end:
        accepted = send(make_gateway(far_end.url))
    assert json.dumps(accepted.body, allow_nan=False, ensure_ascii=False).encode()


# ── what the table of docs/outcomes.md does not show (test_outcomes.py has its rows) ───────────────────────


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_unknown(make_gateway, status):
    with FarEnd(answer(status, b"moved", "Location: /v3/voice/pcmo/transfer")) as far_end:
        error = failure_of(make_gateway(far_end.url))
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_UNREADABLE)
    assert (error.http_status, error.answer) == (status, "moved")
    assert len(far_end.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>Please log in</h1></html>",
        b'{"message": "que',
        b'["queued"]',
        b'"queued"',
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=["empty", "html", "truncated", "array", "string", "null", "binary", "nested"],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_2xx_that_is_no_json_object_is_unknown(make_gateway, status, body):
    with FarEnd(answer(status, body)) as far_end:
        error = failure_of(make_gateway(far_end.url))
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_UNREADABLE)
    assert error.http_status == status
    assert len(str(error.answer)) <= MAX_KEPT_ANSWER_CHARS
    assert len(far_end.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        (("Retry-After: 7",), 7.0),
        (
            ("Date: Fri, 20 Nov 2026 12:00:00 GMT", "Retry-After: Fri, 20 Nov 2026 12:00:30 GMT"),
            30.0,
        ),
        (("Retry-After: later",), None),
        (("Retry-After: 9999999999",), 86_400.0),
        (("Retry-After: " + "9" * 40,), 86_400.0),
    ],
)
def test_retry_after_is_read_and_not_slept(make_gateway, status, headers, seconds):
    with FarEnd(answer(status, b'{"error": "later"}', *headers)) as far_end, within(1.0):
        error = failure_of(make_gateway(far_end.url))
    assert isinstance(error, NotCarriedOut)
    assert error.retry_after_seconds == seconds
    assert len(far_end.requests) == 1


# ── not sent ──────────────────────────────────────────────────────────────────────────────────────────────


def assert_not_sent(error: AttemptError) -> None:
    assert (type(error), error.reason) == (NotCarriedOut, Reason.PLATFORM_UNREACHABLE)
    assert error.http_status is None


def test_a_refused_connection_was_not_sent(make_gateway):
    assert_not_sent(failure_of(make_gateway("http://127.0.0.1:1/v3")))


@pytest.mark.parametrize("host", ["nothing.invalid", "a..b", "x" * 70 + ".invalid"])
def test_a_name_that_leads_nowhere_was_not_sent(make_gateway, host):
    assert_not_sent(failure_of(make_gateway(f"http://{host}/v3")))


def test_a_lookup_that_hangs_ends_on_time_and_was_not_sent(make_gateway, monkeypatch):
    release = threading.Event()
    original = socket.getaddrinfo

    def hang(host, *arguments, **options):
        if host == "slow.example":
            release.wait(10)
            raise socket.gaierror("gave up")
        return original(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with within(SHORT_SECONDS + 0.5):
        error = failure_of(make_gateway("http://slow.example/v3", SHORT_SECONDS))
    release.set()
    assert_not_sent(error)


def test_a_connect_timeout_was_not_sent(make_gateway):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):  # the backlog is full now
            gateway = make_gateway(f"http://127.0.0.1:{address[1]}/v3", SHORT_SECONDS)
            assert_not_sent(failure_of(gateway))


def test_several_dead_addresses_share_the_time_of_one(make_gateway, monkeypatch):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            monkeypatch.setattr(
                socket,
                "getaddrinfo",
                lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 4,
            )
            with within(0.8):
                error = failure_of(make_gateway(f"http://many.example:{address[1]}/v3", 0.4))
    assert_not_sent(error)


def test_a_second_address_is_tried_when_the_first_refuses(make_gateway, monkeypatch):
    with FarEnd(answer(200, QUEUED)) as far_end:
        port = int(far_end.url.split(":")[2].split("/")[0])
        original = socket.getaddrinfo

        def resolve(host, *arguments, **options):
            if host != "two.example":
                return original(host, *arguments, **options)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in ("127.0.0.2", "127.0.0.1")
            ]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        send(make_gateway(f"http://two.example:{port}/v3"))
    assert far_end.requests[0].headers["host"] == f"two.example:{port}"


def test_a_server_without_tls_was_sent_nothing(make_gateway):
    with FarEnd(talk_nonsense, reads=False) as far_end:
        assert_not_sent(failure_of(make_gateway(far_end.url.replace("http:", "https:"))))


def test_a_tls_handshake_that_stalls_was_sent_nothing(make_gateway):
    with FarEnd(be_silent, reads=False) as far_end:
        gateway = make_gateway(far_end.url.replace("http:", "https:"), SHORT_SECONDS)
        assert_not_sent(failure_of(gateway))


def test_what_is_held_up_before_the_first_byte_is_not_sent(make_gateway):
    with FarEnd(answer(200, QUEUED)) as far_end:
        gateway = make_gateway(far_end.url)
        error = failure_of(gateway, write_within_seconds=0.0)
        assert (type(error), error.reason) == (NotCarriedOut, Reason.NOT_SENT)
        send(gateway)  # a connection is open now
        error = failure_of(gateway, write_within_seconds=0.0)
        assert (type(error), error.reason) == (NotCarriedOut, Reason.NOT_SENT)
    assert len(far_end.requests) == 1


# ── sent, and then who knows ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "respond", [be_silent, hang_up, reset, talk_nonsense], ids=["silent", "closes", "resets", "nonsense"]
)
def test_an_answer_that_never_comes_is_unknown_and_not_asked_for_again(make_gateway, respond):
    with FarEnd(respond) as far_end:
        error = failure_of(make_gateway(far_end.url, SHORT_SECONDS))
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)
    assert len(far_end.requests) == 1


def test_a_reset_before_anything_was_read_is_never_taken_for_more_than_is_known(make_gateway):
    with FarEnd(reset, reads=False) as far_end:
        error = failure_of(make_gateway(far_end.url))
    # A race: the reset is seen while connecting (nothing was written), or after the kernel took the bytes;
    # then, that nobody read them is nothing this side can know.
    assert (type(error), error.reason) in {
        (NotCarriedOut, Reason.PLATFORM_UNREACHABLE),
        (OutcomeUnknown, Reason.ANSWER_LOST),
    }


def test_a_2xx_that_breaks_off_is_unknown(make_gateway):
    with FarEnd(answer_half(200, QUEUED)) as far_end:
        error = failure_of(make_gateway(far_end.url))
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)
    assert (error.http_status, error.answer) == (200, None)


@pytest.mark.parametrize(("status", "kind"), [(400, Refused), (429, NotCarriedOut), (500, OutcomeUnknown)])
def test_a_status_counts_though_its_body_breaks_off(make_gateway, status, kind):
    with FarEnd(answer_half(status, b'{"error": "whatever it was"}')) as far_end:
        error = failure_of(make_gateway(far_end.url))
    assert (type(error), error.http_status) == (kind, status)
    assert len(far_end.requests) == 1


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"],
    ids=["status-line", "headers", "body"],
)
def test_a_server_that_drips_can_not_hold_the_caller(make_gateway, head):
    drip = Drip(head)
    with FarEnd(drip) as far_end:
        gateway = make_gateway(far_end.url, SHORT_SECONDS)
        with within(gateway.attempt_bound_seconds + 0.3):
            error = failure_of(gateway)
        drip.ending.set()
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)


def test_an_answer_without_end_is_unknown(make_gateway):
    with FarEnd(answer(200, b'"' + b"x" * MAX_ANSWER_BYTES * 2)) as far_end:
        error = failure_of(make_gateway(far_end.url))
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)


# ── connections, threads, surroundings ────────────────────────────────────────────────────────────────────


def test_a_connection_is_used_again_while_it_is_fresh(make_gateway):
    with FarEnd(answer(200, QUEUED)) as far_end:
        gateway = make_gateway(far_end.url)
        for _ in range(3):
            send(gateway)
    assert (len(far_end.requests), far_end.connection_count) == (3, 1)


def test_a_connection_that_lay_idle_is_replaced_not_trusted(make_gateway):
    with FarEnd(answer(200, QUEUED)) as far_end:
        gateway = make_gateway(far_end.url)
        send(gateway)
        gateway._client()._idle_since -= MAX_IDLE_SECONDS + 1
        send(gateway)
    assert far_end.connection_count == 2


def test_a_connection_that_the_server_closed_is_replaced(make_gateway):
    def respond(connection: socket.socket, _number: int) -> bool:
        connection.sendall(make_answer(200, QUEUED))
        return False

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end.url)
        send(gateway)
        for thread in far_end._threads[1:]:
            thread.join(5)
        send(gateway)
    assert (len(far_end.requests), far_end.connection_count) == (2, 2)


def test_a_failure_leaves_nothing_behind_for_the_next_call(make_gateway):
    def respond(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.recv(1)
            return False
        connection.sendall(make_answer(200, QUEUED, "Set-Cookie: a=b"))
        return True

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end.url, SHORT_SECONDS)
        failure_of(gateway)
        assert send(gateway).http_status == 200
        send(gateway)
    assert "cookie" not in far_end.requests[-1].headers


def test_each_thread_has_a_connection_of_its_own(make_gateway):
    barrier = threading.Barrier(4, timeout=5)

    def respond(connection: socket.socket, _number: int) -> bool:
        barrier.wait()
        connection.sendall(make_answer(200, QUEUED))
        return True

    with FarEnd(respond) as far_end:
        gateway = make_gateway(far_end.url)
        with ThreadPoolExecutor(4) as pool:
            keys = [f"key-{number}" for number in range(4)]
            list(
                pool.map(
                    lambda key: gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key=key), keys
                )
            )
    assert far_end.connection_count == 4
    assert sorted(request.headers["idempotency-key"] for request in far_end.requests) == keys


def test_the_surroundings_change_nothing(make_gateway, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with FarEnd(answer(200, QUEUED)) as far_end:
        send(make_gateway(far_end.url))
    assert far_end.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_neither_logs_nor_errors_carry_the_token_or_the_number(make_gateway, caplog):
    with caplog.at_level(logging.DEBUG):
        texts = []
        for respond in (answer(200, QUEUED), answer(400), hang_up, talk_nonsense):
            with FarEnd(respond) as far_end:
                gateway = make_gateway(far_end.url)
                try:
                    send(gateway)
                except AttemptError as error:
                    texts.append(f"{error!r} {error}")
    said = " ".join([caplog.text, *texts])
    assert len(texts) == 3
    assert TOKEN not in said
    assert NUMBER not in said


# ── over TLS ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed; it makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=far-end"]
    places = ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(
        [openssl, *request, "-addext", "subjectAltName=IP:127.0.0.1", *places],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path.with_suffix(".crt"), path)
    return str(path.with_suffix(".crt")), context


def test_a_certificate_that_nobody_vouches_for_is_sent_nothing(make_gateway, certificate):
    with FarEnd(answer(200, QUEUED), tls=certificate[1]) as far_end:
        assert_not_sent(failure_of(make_gateway(far_end.url)))
    assert far_end.requests == []


def test_over_tls_the_rows_are_the_same(make_gateway, certificate):
    def respond(connection: socket.socket, number: int) -> bool:
        if number == 1:
            connection.sendall(make_answer(200, QUEUED))
            return True
        if number == 2:
            be_silent(connection, number)
        return False

    with FarEnd(respond, tls=certificate[1]) as far_end:
        gateway = make_gateway(far_end.url, 0.5)
        gateway._client().session.verify = certificate[0]
        assert send(gateway).http_status == 200
        for _silent_then_closing in range(2):
            error = failure_of(gateway)
            assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)
    assert len(far_end.requests) == 3


def test_over_tls_a_server_that_drips_can_not_hold_the_caller(make_gateway, certificate):
    drip = Drip(b"HTTP/1.1 200 OK\r\nX: ")
    with FarEnd(drip, tls=certificate[1]) as far_end:
        gateway = make_gateway(far_end.url, 0.5)
        gateway._client().session.verify = certificate[0]
        with within(gateway.attempt_bound_seconds + 0.3):
            error = failure_of(gateway)
        drip.ending.set()
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)
