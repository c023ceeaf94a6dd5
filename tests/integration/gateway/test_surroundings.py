"""Connections, threads, the environment, and TLS."""

from __future__ import annotations

import logging
import shutil
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.far_end import FarEnd, make_answer
from support.far_gateway import (
    CALL_ID,
    NUMBER,
    PIPELINE,
    QUEUED,
    SHORT_SECONDS,
    TOKEN,
    Drip,
    answer,
    assert_not_sent,
    be_silent,
    failure_of,
    hang_up,
    send,
    talk_nonsense,
)
from support.metronome import within
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, OutcomeUnknown
from transfer_worker.gateway import MAX_IDLE_SECONDS

if TYPE_CHECKING:
    import socket


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
