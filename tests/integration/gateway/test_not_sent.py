"""What was proven not sent: nobody there, no name, no TLS, too late."""

from __future__ import annotations

import socket
import threading

import pytest

from support.far_end import FarEnd
from support.far_gateway import (
    QUEUED,
    SHORT_SECONDS,
    answer,
    assert_not_sent,
    be_silent,
    failure_of,
    send,
    talk_nonsense,
)
from support.metronome import within
from transfer_tasks.outcome import Reason
from transfer_worker.errors import NotCarriedOut


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
