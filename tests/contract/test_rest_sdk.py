"""Facts about the Piopiy REST SDK that the gateway stands on, read and measured in piopiy 1.2.2.

When one of these fails after an upgrade, read worker/transfer_worker/gateway/client.py again first.
"""

from __future__ import annotations

import inspect
import json
import os
import socket
from importlib.metadata import version

import pytest
import requests
import urllib3.exceptions
from piopiy_voice import (
    PiopiyAPIError,
    PiopiyError,
    PiopiyNetworkError,
    PiopiyValidationError,
    RestClient,
)

from support.far_end import FarEnd, make_answer

CALL_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PIPELINE = [
    {
        "action": "connect",
        "params": {"caller_id": "12025550100"},
        "endpoints": [{"type": "pstn", "number": "12025550143"}],
    }
]


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


@pytest.fixture(autouse=True)
def _no_proxy_of_the_environment(monkeypatch):
    """The vendor's client heeds them (ours does not), and the servers here are this machine's."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def rest():
    """Make clients, and close their sessions in the end."""
    made: list[RestClient] = []

    def make(base_url: str, **options) -> RestClient:
        made.append(RestClient("secret-token", base_url, **options))
        return made[-1]

    yield make
    for client in made:
        client._http._session.close()


def transfer_error(client: RestClient) -> PiopiyError:
    with pytest.raises(PiopiyError) as raised:
        client.voice.transfer(CALL_ID, PIPELINE)
    return raised.value


def test_this_is_the_release_that_was_read():
    assert version("piopiy") == "1.2.2"


def test_the_client_is_built_as_the_gateway_builds_it():
    parameters = inspect.signature(RestClient).parameters
    assert list(parameters) == ["token", "base_url", "timeout", "max_retries", "backoff_factor"]
    defaults = [parameter.default for parameter in parameters.values()]
    assert defaults[1:] == ["https://rest.piopiy.com/v3", 10, 2, 0.4]


def test_the_session_is_where_the_gateway_reaches_for_it(rest):
    session = rest("http://127.0.0.1:1")._http._session
    assert isinstance(session, requests.Session)
    retries = session.get_adapter("http://127.0.0.1:1").max_retries
    assert retries.total == retries.connect == retries.read == retries.status == 2


def test_the_session_is_asked_for_json_with_a_timeout_and_for_nothing_else(rest):
    asked: list[tuple] = []

    class Session(requests.Session):
        def request(self, *arguments, **options):
            asked.append((arguments, options))
            raise requests.ConnectionError

    client = rest("http://127.0.0.1:1")
    client._http._session = Session()
    transfer_error(client)
    body = {"call_id": CALL_ID, "pipeline": PIPELINE}
    url = "http://127.0.0.1:1/voice/pcmo/transfer"
    assert asked == [(("POST", url), {"data": None, "json": body, "timeout": 10})]


def test_a_transfer_is_one_post_with_these_words(rest):
    with FarEnd(answer(200, b'{"message": "queued"}')) as far_end:
        assert rest(far_end.url).voice.transfer(CALL_ID, PIPELINE) == {"message": "queued"}
    (request,) = far_end.requests
    assert request.line == "POST /v3/voice/pcmo/transfer HTTP/1.1"
    assert request.headers["authorization"] == "Bearer secret-token"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert json.loads(request.body) == {"call_id": CALL_ID, "pipeline": PIPELINE}
    assert "idempotency-key" not in request.headers


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_by_default_a_bad_status_puts_three_posts_on_the_wire(rest, status):
    with FarEnd(answer(status)) as far_end:
        error = transfer_error(rest(far_end.url, backoff_factor=0.001))
    assert isinstance(error, PiopiyAPIError)
    assert error.status_code == status
    assert len(far_end.requests) == 3


@pytest.mark.parametrize("respond", [be_silent, hang_up])
def test_by_default_a_lost_answer_puts_three_posts_on_the_wire(rest, respond):
    with FarEnd(respond) as far_end:
        error = transfer_error(rest(far_end.url, timeout=0.1, backoff_factor=0.001))
    assert isinstance(error, PiopiyNetworkError)
    assert len(far_end.requests) == 3


@pytest.mark.parametrize(
    "respond", [be_silent, hang_up, *[answer(status) for status in (429, 500, 502, 503, 504)]]
)
def test_without_retries_it_is_exactly_one_post(rest, respond):
    with FarEnd(respond) as far_end:
        transfer_error(rest(far_end.url, timeout=0.1, max_retries=0))
    assert len(far_end.requests) == 1


def test_by_default_it_sleeps_for_retry_after_inside_the_call(rest):
    def respond(connection: socket.socket, number: int) -> bool:
        refused = make_answer(503, b"", "Retry-After: 1")
        connection.sendall(refused if number == 1 else make_answer(200, b"{}"))
        return True

    with FarEnd(respond) as far_end:
        client = rest(far_end.url, backoff_factor=0.001)
        began = requests.sessions.preferred_clock()
        client.voice.transfer(CALL_ID, PIPELINE)
        assert requests.sessions.preferred_clock() - began >= 1.0


def test_max_retries_false_leaks_raw_urllib3_errors(rest):
    with pytest.raises(urllib3.exceptions.HTTPError):
        rest("http://127.0.0.1:1", max_retries=False).voice.transfer(CALL_ID, PIPELINE)


def test_a_read_timeout_says_network_error_and_hides_its_reason(rest):
    with FarEnd(be_silent) as far_end:
        error = transfer_error(rest(far_end.url, timeout=0.1, max_retries=0))
    assert str(error) == "Network error while calling Piopiy API."
    assert isinstance(error.original_exception.args[0].reason, urllib3.exceptions.ReadTimeoutError)


def test_a_connect_timeout_says_timed_out_though_nothing_was_sent(rest):
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    with listener, socket.create_connection(listener.getsockname()):
        port = listener.getsockname()[1]
        error = transfer_error(rest(f"http://127.0.0.1:{port}/v3", timeout=0.2, max_retries=0))
    assert str(error) == "Request timed out."
    assert isinstance(error.original_exception.args[0].reason, urllib3.exceptions.ConnectTimeoutError)


def test_a_tls_handshake_that_stalls_is_reported_as_a_read_timeout(rest):
    """Why the gateway does not go by the error but by what its connection has written."""
    with FarEnd(be_silent, reads=False) as far_end:
        client = rest(far_end.url.replace("http:", "https:"), timeout=0.2, max_retries=0)
        error = transfer_error(client)
    original = error.original_exception
    reason = getattr(original.args[0], "reason", original.args[0])
    assert isinstance(reason, urllib3.exceptions.ReadTimeoutError)


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("http://127.0.0.1:1/v3", urllib3.exceptions.NewConnectionError),
        ("http://nothing.invalid/v3", urllib3.exceptions.NameResolutionError),
    ],
)
def test_what_never_connected_hides_why_in_the_reason(rest, base_url, kind):
    error = transfer_error(rest(base_url, max_retries=0))
    assert isinstance(error, PiopiyNetworkError)
    assert isinstance(error.original_exception.args[0].reason, kind)


def test_a_connection_lost_after_sending_hides_a_protocol_error(rest):
    with FarEnd(hang_up) as far_end:
        error = transfer_error(rest(far_end.url, max_retries=0))
    assert isinstance(error.original_exception.args[0].reason, urllib3.exceptions.ProtocolError)


def test_the_errors_carry_no_headers(rest):
    with FarEnd(answer(429, b'{"error": "slow down"}', "Retry-After: 7")) as far_end:
        error = transfer_error(rest(far_end.url, max_retries=0))
    assert vars(error) == {"status_code": 429, "payload": {"error": "slow down"}}


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b"", {}),
        (b"<html>", {"raw_response": "<html>"}),
        (b'{"message": "que', {"raw_response": '{"message": "que'}),
        (b'["queued"]', ["queued"]),
    ],
)
def test_a_2xx_that_says_nothing_looks_like_success(rest, body, result):
    with FarEnd(answer(200, body)) as far_end:
        assert rest(far_end.url, max_retries=0).voice.transfer(CALL_ID, PIPELINE) == result


@pytest.mark.parametrize(("status", "methods"), [(302, ["POST", "GET"]), (307, ["POST", "POST"])])
def test_by_default_redirects_are_followed(rest, status, methods):
    def respond(connection: socket.socket, number: int) -> bool:
        moved = make_answer(status, b"", "Location: /elsewhere")
        connection.sendall(moved if number == 1 else make_answer(200, b"{}"))
        return True

    with FarEnd(respond) as far_end:
        rest(far_end.url, max_retries=0).voice.transfer(CALL_ID, PIPELINE)
    assert [request.line.split()[0] for request in far_end.requests] == methods


def test_the_pool_holds_ten_connections_and_does_not_block(rest):
    adapter = rest("http://127.0.0.1:1")._http._session.get_adapter("http://127.0.0.1:1")
    assert (adapter._pool_maxsize, adapter._pool_block) == (10, False)


def test_the_environment_is_trusted_by_default(rest):
    assert rest("http://127.0.0.1:1")._http._session.trust_env is True


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(("",), "token"), (("x", ""), "base_url"), (("x", "http://127.0.0.1", 0), "timeout")],
)
def test_the_client_refuses_values_it_can_not_use(arguments, field):
    with pytest.raises(PiopiyValidationError) as raised:
        RestClient(*arguments)
    assert raised.value.field == field


def test_the_validator_names_the_field(rest):
    with pytest.raises(PiopiyValidationError) as raised:
        rest("http://127.0.0.1:1").voice.transfer("no-uuid", PIPELINE)
    assert raised.value.field == "call_id"
