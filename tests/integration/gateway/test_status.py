"""What `GET /v3/transfers/{request_id}` answers, and what is known after it; never more than was said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.far_end import FarEnd
from support.far_gateway import CALL_ID, TOKEN, Drip, answer, be_silent, hang_up, talk_nonsense
from transfer_tasks.connection import ConnectionReason, ConnectionStatus
from transfer_worker.gateway.rules import ReceivedAnswer
from transfer_worker.gateway.status import Seen, StatusClient, read_status
from transfer_worker.sandbox import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_ID = "r/1=="


@pytest.fixture
def ask():
    clients: list[StatusClient] = []

    def ask_there(
        base_url: str, request_id: str = REQUEST_ID, timeout_seconds: float = 30.0, token: str = TOKEN
    ):
        clients.append(StatusClient(token=token, base_url=base_url, timeout_seconds=timeout_seconds))
        return clients[-1].ask(request_id, call_id=CALL_ID)

    yield ask_there
    for client in clients:
        client.close()


def told(**fields: object) -> Callable:
    return answer(200, json.dumps({"request_id": REQUEST_ID, "call_id": CALL_ID, **fields}).encode())


def test_one_question_is_one_get_with_the_token_to_this_request(ask):
    with FarEnd(told(status="queued")) as far_end:
        heard = ask(f"{far_end.url}/")
    assert (heard.seen, heard.words.status) == (Seen.TOLD, ConnectionStatus.QUEUED)
    (request,) = far_end.requests
    assert request.line == "GET /v3/transfers/r%2F1%3D%3D HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.body == b""


@pytest.mark.parametrize(
    ("fields", "status", "reason", "caller_gone"),
    [
        ({"status": "completed"}, ConnectionStatus.CONNECTED, None, False),
        (
            {"status": "failed", "reason": "busy"},
            ConnectionStatus.NOT_CONNECTED,
            ConnectionReason.BUSY,
            False,
        ),
        (
            {"status": "failed", "reason": "no_answer_and_call_ended"},
            ConnectionStatus.NOT_CONNECTED,
            ConnectionReason.NO_ANSWER,
            True,
        ),
        ({"status": "failed", "reason": 7}, ConnectionStatus.NOT_CONNECTED, None, False),
    ],
)
def test_what_it_says_is_what_is_known(ask, fields, status, reason, caller_gone):
    with FarEnd(told(**fields)) as far_end:
        words = ask(far_end.url).words
    assert (words.status, words.reason, words.caller_gone) == (status, reason, caller_gone)


@pytest.mark.parametrize(
    ("respond", "seen"),
    [
        (told(status="cancelled"), Seen.UNKNOWN_STATUS),
        (told(status="COMPLETED"), Seen.UNKNOWN_STATUS),
        (told(), Seen.UNREADABLE),
        (told(status=1), Seen.UNREADABLE),
        (told(status="completed", request_id="another"), Seen.UNREADABLE),
        (told(status="completed", call_id="7c9e6679-7425-40de-944b-e07fc1f90ae7"), Seen.UNREADABLE),
        (answer(200, b"{}"), Seen.UNREADABLE),
        (answer(200, b""), Seen.UNREADABLE),
        (answer(200, b"<html>completed</html>"), Seen.UNREADABLE),
        (answer(200, b'["completed"]'), Seen.UNREADABLE),
        (answer(201, b'{"status":"completed"}'), Seen.UNREADABLE),
        (answer(404, b'{"status":"completed"}'), Seen.NOT_FOUND),
        (answer(410), Seen.NOT_FOUND),
        (answer(401), Seen.UNAUTHORIZED),
        (answer(403), Seen.UNAUTHORIZED),
        (answer(400), Seen.UNREADABLE),
        (answer(500, b'{"status":"completed"}'), Seen.SERVER_ERROR),
        (answer(599), Seen.SERVER_ERROR),
        (hang_up, Seen.UNREACHABLE),
        (talk_nonsense, Seen.UNREACHABLE),
        (answer(200, b"x" * (1024 * 1024 + 1)), Seen.UNREACHABLE),
    ],
)
def test_nothing_else_is_an_answer_about_this_request(ask, respond, seen):
    with FarEnd(respond) as far_end:
        heard = ask(far_end.url)
    assert (heard.seen, heard.words) == (seen, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(ask, status):
    with FarEnd(answer(200, b'{"status":"completed"}')) as elsewhere:
        with FarEnd(answer(status, b"", f"Location: {elsewhere.url}/transfers/x")) as far_end:
            heard = ask(far_end.url)
        assert elsewhere.requests == []
    assert (heard.seen, heard.words) == (Seen.UNREADABLE, None)


@pytest.mark.parametrize(("status", "seen"), [(429, Seen.RATE_LIMITED), (503, Seen.SERVER_ERROR)])
def test_how_long_it_wants_to_be_left_alone(ask, status, seen):
    with FarEnd(answer(status, b"", "Retry-After: 17")) as far_end:
        heard = ask(far_end.url)
    assert (heard.seen, heard.retry_after_seconds) == (seen, 17.0)


def test_silence_and_drops_take_no_longer_than_they_may(ask):
    with FarEnd(be_silent) as far_end:
        assert ask(far_end.url, timeout_seconds=0.2).seen is Seen.UNREACHABLE
    drip = Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with FarEnd(drip) as far_end:
        assert ask(far_end.url, timeout_seconds=0.5).seen is Seen.UNREACHABLE
        drip.ending.set()


def test_nobody_there_is_unreachable(ask):
    assert ask("http://127.0.0.1:1/v3").seen is Seen.UNREACHABLE


def test_each_question_has_a_connection_of_its_own():
    with FarEnd(told(status="queued")) as far_end:
        client = StatusClient(token=TOKEN, base_url=far_end.url, timeout_seconds=30)
        for _ in range(3):
            assert client.ask(REQUEST_ID, call_id=CALL_ID).seen is Seen.TOLD
        client.close()
    assert far_end.connection_count == 3


def test_the_call_may_be_spelt_as_it_likes(ask):
    with FarEnd(told(status="completed", call_id=CALL_ID.upper())) as far_end:
        assert ask(far_end.url).words.status is ConnectionStatus.CONNECTED


def test_the_sandbox_is_asked_like_the_platform(ask):
    with SandboxServer() as sandbox:
        request_id = sandbox.controls.begin_course(CALL_ID, "12025550184")
        assert ask(sandbox.url, request_id, token=sandbox.token).words.status is ConnectionStatus.QUEUED
        assert ask(sandbox.url, "never", token=sandbox.token).seen is Seen.NOT_FOUND
        assert ask(sandbox.url, request_id, token="wrong-token").seen is Seen.UNAUTHORIZED
        assert sandbox.post_count() == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("completed"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.integers(200, 599),
    st.dictionaries(st.sampled_from(["status", "reason", "request_id", "call_id"]), values) | values,
)
def test_whatever_is_answered_only_the_one_shape_is_an_end(status, value):
    body = json.dumps(value).encode()
    heard = read_status(ReceivedAnswer(status, {}, body), request_id=REQUEST_ID, call_id=CALL_ID)
    if heard.words is not None:
        assert status == 200
        assert value["status"] in {"queued", "started", "completed", "failed"}
        assert value.get("request_id", REQUEST_ID) == REQUEST_ID
