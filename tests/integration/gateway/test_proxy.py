"""Through a real CONNECT proxy to a far end with TLS: what the proxy refuses was never sent."""

from __future__ import annotations

import json
import logging
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from support.connect_proxy import ConnectProxy
from support.far_end import FarEnd, make_answer
from support.waiting import wait_until
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut, OutcomeUnknown
from transfer_worker.gateway import PiopiyGateway

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
QUEUED = b'{"message": "queued"}'
LOGIN = "site-7:s3cret%40pass"
PASSWORDS = ("s3cret", "c2l0ZS03")  # as it is written, and as a header carries it


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def make_gateway(authority: trustme.CA, tmp_path: Path) -> Iterator[Callable[..., PiopiyGateway]]:
    made: list[PiopiyGateway] = []
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def make(base_url: str, proxy_url: str, timeout_seconds: float = 5.0, **options: bool) -> PiopiyGateway:
        gateway = PiopiyGateway(
            token="secret-token",
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            proxy_url=proxy_url,
            **options,
        )
        gateway._client().session.verify = str(tmp_path / "ca.pem")
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.close()


def send(gateway: PiopiyGateway, **options):
    return gateway.send(call_id=CALL_ID, pipeline=[{"action": "hangup"}], idempotency_key="key:1", **options)


def failure_of(gateway: PiopiyGateway, **options) -> AttemptError:
    with pytest.raises(AttemptError) as raised:
        send(gateway, **options)
    return raised.value


def queue_it(connection: socket.socket, _number: int) -> bool:
    connection.sendall(make_answer(200, QUEUED))
    return True


def assert_not_sent(error: AttemptError) -> None:
    assert (type(error), error.reason) == (NotCarriedOut, Reason.PLATFORM_UNREACHABLE)
    assert error.http_status is None
    assert not any(password in f"{error} {error.detail}" for password in PASSWORDS)


def test_a_request_goes_through_the_tunnel_and_the_next_one_through_the_same(make_gateway, tls):
    with ConnectProxy() as proxy, FarEnd(queue_it, tls=tls) as far_end:
        place = far_end.url.split("/")[2]
        gateway = make_gateway(far_end.url, proxy.url)
        assert send(gateway).body == json.loads(QUEUED)
        assert send(gateway).http_status == 200
    assert len(far_end.requests) == 2
    assert (far_end.connection_count, proxy.tunnel_count) == (1, 1)
    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {place} ")
    # The proxy carries bytes; what it is told is for it alone.
    assert far_end.requests[0].line == "POST /v3/voice/pcmo/transfer HTTP/1.1"
    assert not any(name.startswith("proxy-") for name in far_end.requests[0].headers)


def test_a_proxy_may_be_reached_over_tls_itself(make_gateway, tls, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    with ConnectProxy(tls=tls) as proxy, FarEnd(queue_it, tls=tls) as far_end:
        gateway = make_gateway(far_end.url, proxy.url)
        assert send(gateway).body == json.loads(QUEUED)
        assert send(gateway).http_status == 200
    assert (far_end.connection_count, proxy.tunnel_count) == (1, 1)


def test_without_keep_alive_each_request_has_a_tunnel_of_its_own(make_gateway, tls):
    with ConnectProxy() as proxy, FarEnd(queue_it, tls=tls) as far_end:
        gateway = make_gateway(far_end.url, proxy.url, keeps_alive=False)
        for _ in range(2):
            assert send(gateway).http_status == 200
    assert (far_end.connection_count, proxy.tunnel_count) == (2, 2)


def test_a_login_is_shown_to_the_proxy(make_gateway, tls):
    with ConnectProxy(login="site-7:s3cret@pass") as proxy, FarEnd(queue_it, tls=tls) as far_end:
        url = proxy.url.replace("s3cret@pass", "s3cret%40pass")
        assert send(make_gateway(far_end.url, url)).http_status == 200
        assert_not_sent(failure_of(make_gateway(far_end.url, url.replace("site-7", "site-8"))))
    assert len(far_end.requests) == 1


@pytest.mark.parametrize(
    "status",
    ["403 Forbidden", "407 Login Required", "429 Slow", "500 Oops", "502 Bad", "503 Off", "200x what"],
)
def test_what_the_proxy_refuses_was_not_sent(make_gateway, tls, status):
    refusal = (
        f'HTTP/1.1 {status}\r\nRetry-After: 3\r\nContent-Length: 18\r\n\r\n{{"error": "denied"}}'.encode()
    )
    with ConnectProxy(refusal=refusal) as proxy, FarEnd(queue_it, tls=tls) as far_end:
        error = failure_of(make_gateway(far_end.url, proxy.url.replace("//", f"//{LOGIN}@")))
    assert_not_sent(error)
    assert far_end.requests == []
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("refusal", [b"HTTP/1.1 20", b"220 mail.example ESMTP\r\n", b"\r\n"])
def test_a_proxy_that_breaks_off_or_speaks_no_http_was_sent_nothing(make_gateway, tls, refusal):
    with ConnectProxy(refusal=refusal) as proxy, FarEnd(queue_it, tls=tls) as far_end:
        assert_not_sent(failure_of(make_gateway(far_end.url, proxy.url)))
    assert far_end.requests == []


def test_a_proxy_that_says_more_than_its_answer_is_sent_nothing(make_gateway, tls):
    refusal = b"HTTP/1.1 200 OK\r\n\r\n" + make_answer(200, QUEUED)
    with ConnectProxy(refusal=refusal) as proxy, FarEnd(queue_it, tls=tls) as far_end:
        assert_not_sent(failure_of(make_gateway(far_end.url, proxy.url)))
    assert far_end.requests == []


def test_a_proxy_that_is_not_there_was_sent_nothing(make_gateway, tls):
    with FarEnd(queue_it, tls=tls) as far_end:
        assert_not_sent(failure_of(make_gateway(far_end.url, f"http://{LOGIN}@127.0.0.1:1")))
    assert far_end.connection_count == 0


def test_a_platform_that_the_proxy_can_not_reach_was_sent_nothing(make_gateway):
    with ConnectProxy() as proxy:
        assert_not_sent(failure_of(make_gateway("https://127.0.0.1:1/v3", proxy.url)))
    assert len(proxy.asked) == 1


def test_a_silent_proxy_ends_on_time_and_was_sent_nothing(make_gateway, tls):
    def be_silent(connection: socket.socket, _number: int) -> None:
        while connection.recv(65536):
            """Take everything, say nothing."""

    with FarEnd(be_silent, reads=False) as proxy, FarEnd(queue_it, tls=tls) as far_end:
        url = proxy.url.removesuffix("/v3")
        assert_not_sent(failure_of(make_gateway(far_end.url, url, 0.3)))
        error = failure_of(make_gateway(far_end.url, url), write_within_seconds=0.2)
        assert_not_sent(error)
    assert far_end.connection_count == 0


def test_a_certificate_of_the_proxys_own_making_is_not_trusted(make_gateway):
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(own)
    with ConnectProxy() as proxy, FarEnd(queue_it, tls=own) as far_end:
        assert_not_sent(failure_of(make_gateway(far_end.url, proxy.url)))
    assert far_end.requests == []


def test_an_answer_that_is_lost_behind_the_tunnel_is_unknown(make_gateway, tls):
    with ConnectProxy() as proxy, FarEnd(lambda *_: False, tls=tls) as far_end:
        error = failure_of(make_gateway(far_end.url, proxy.url))
    assert (type(error), error.reason) == (OutcomeUnknown, Reason.ANSWER_LOST)
    assert len(far_end.requests) == 1


def test_after_the_tunnel_was_cut_the_next_request_has_a_new_one(make_gateway, tls):
    def queue_and_leave(connection: socket.socket, _number: int) -> bool:
        connection.sendall(make_answer(200, QUEUED))
        return False

    with ConnectProxy() as proxy, FarEnd(queue_and_leave, tls=tls) as far_end:
        gateway = make_gateway(far_end.url, proxy.url)
        send(gateway)
        wait_until(lambda: proxy.ended_count == 1, message="the end has reached us")
        send(gateway)
    assert (len(far_end.requests), proxy.tunnel_count) == (2, 2)


def test_the_surroundings_proxies_change_nothing(make_gateway, tls, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ConnectProxy() as proxy, FarEnd(queue_it, tls=tls) as far_end:
        send(make_gateway(far_end.url, proxy.url))
    assert proxy.tunnel_count == 1


def test_no_log_line_has_the_proxys_password(make_gateway, tls, caplog):
    with caplog.at_level(logging.DEBUG), ConnectProxy(refusal=b"HTTP/1.1 403 No\r\n\r\n") as proxy:
        failure_of(make_gateway("https://127.0.0.1:1/v3", proxy.url.replace("//", f"//{LOGIN}@")))
    assert not any(password in caplog.text for password in PASSWORDS)


@pytest.mark.parametrize("url", ["http://api.example/v3"])
def test_a_proxy_for_plain_http_is_refused(url):
    with pytest.raises(ValueError, match="https"):
        PiopiyGateway(token="secret-token", base_url=url, timeout_seconds=1, proxy_url="http://proxy:3128")
