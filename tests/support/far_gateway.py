"""A gateway before a far end that behaves badly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from transfer_worker.gateway import PiopiyGateway

import threading

import pytest

from support.far_end import make_answer
from transfer_tasks.outcome import Reason
from transfer_worker.errors import AttemptError, NotCarriedOut

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


def answer(status: int, body: bytes = b"", *headers: str) -> Callable[[socket.socket, int], bool]:
    def respond(connection: socket.socket, _number: int) -> bool:
        connection.sendall(make_answer(status, body, *headers))
        return True

    return respond


def be_silent(connection: socket.socket, _number: int) -> None:
    while connection.recv(65536):
        """Take everything, say nothing, until the client leaves."""


def hang_up(_connection: socket.socket, _number: int) -> None:
    """Close without an answer."""


def talk_nonsense(connection: socket.socket, _number: int) -> None:
    connection.sendall(b"220 mail.example ESMTP 12025550143\r\n")


class Drip:
    """Sends an answer byte by byte, each well within a read timeout."""

    def __init__(self, head: bytes) -> None:
        self.head, self.ending = head, threading.Event()

    def __call__(self, connection: socket.socket, _number: int) -> None:
        connection.sendall(self.head)
        while not self.ending.wait(0.02):
            connection.sendall(b"x")


def send(gateway: PiopiyGateway, **options: Any) -> Any:
    return gateway.send(call_id=CALL_ID, pipeline=PIPELINE, idempotency_key="key:1", **options)


def failure_of(gateway: PiopiyGateway, **options: Any) -> AttemptError:
    with pytest.raises(AttemptError) as raised:
        send(gateway, **options)
    return raised.value


def assert_not_sent(error: AttemptError) -> None:
    assert (type(error), error.reason) == (NotCarriedOut, Reason.PLATFORM_UNREACHABLE)
    assert error.http_status is None
