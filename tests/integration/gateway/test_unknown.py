"""Sent, and then who knows: silence, resets, halves, drips."""

from __future__ import annotations

import socket
import struct

import pytest

from support.far_end import FarEnd, make_answer
from support.far_gateway import (
    QUEUED,
    SHORT_SECONDS,
    Drip,
    answer,
    be_silent,
    failure_of,
    hang_up,
    talk_nonsense,
)
from support.metronome import within
from transfer_tasks.outcome import Reason
from transfer_worker.errors import NotCarriedOut, OutcomeUnknown, Refused
from transfer_worker.gateway.exchange import MAX_ANSWER_BYTES


def reset(connection: socket.socket, _number: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answer_half(status: int, body: bytes):
    def respond(connection: socket.socket, _number: int) -> None:
        whole = make_answer(status, body)
        connection.sendall(whole[: -len(body) // 2])

    return respond


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
