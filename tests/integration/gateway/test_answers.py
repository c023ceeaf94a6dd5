"""What the platform answers: accepted, not carried out, unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.far_end import FarEnd, make_answer
from support.far_gateway import CALL_ID, PIPELINE, QUEUED, TOKEN, answer, failure_of, send
from support.metronome import within
from transfer_tasks.outcome import Reason
from transfer_worker.delivery.retry import RetryPolicy, run_attempts
from transfer_worker.errors import NotCarriedOut, OutcomeUnknown
from transfer_worker.gateway.classification import MAX_KEPT_ANSWER_CHARS

if TYPE_CHECKING:
    import socket


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


@pytest.mark.parametrize("digits", [9, 10, 400])
def test_a_wait_beyond_every_deadline_costs_one_post_however_many_digits_it_has(make_gateway, digits):
    with FarEnd(answer(429, b"", f"Retry-After: {'9' * digits}")) as far_end:
        gateway = make_gateway(far_end.url)
        with pytest.raises(NotCarriedOut):
            run_attempts(
                lambda _number: send(gateway),
                policy=RetryPolicy(),
                remaining_seconds=lambda: 15.0,
                before_wait=lambda _wait: None,
                sleep=lambda _seconds: None,
            )
    assert len(far_end.requests) == 1
