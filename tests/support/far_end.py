"""The far end of a socket: a TCP server that does what a test says, and counts what reached it."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request that arrived whole."""

    line: str
    headers: dict[str, str]
    body: bytes


def make_answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """Return an HTTP answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Strange"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class FarEnd:
    """Reads whole requests, keeps them, and hands each connection to `respond`.

    Args:
        respond: Called after each request with the connection and the number of requests so far; a true
            return value keeps the connection open for another request.
        tls: Makes it a TLS server.
        reads: Whether requests are read at all; without, `respond` gets the connection as accepted.
    """

    def __init__(
        self,
        respond: Callable[[socket.socket, int], object],
        *,
        tls: ssl.SSLContext | None = None,
        reads: bool = True,
    ) -> None:
        self.requests: list[SeenRequest] = []
        self.connection_count = 0
        self.ending = threading.Event()
        self._respond, self._tls, self._reads = respond, tls, reads
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The API root that a client is given."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v3"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        for opened in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
        self._listener.close()

    def _accept(self) -> None:
        while not self.ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection_count += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            stack.enter_context(connection)
            if self._tls is not None:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
                self._open.append(connection)
            while not self.ending.is_set():
                if self._reads:
                    request = _read_request(connection)
                    if request is None:
                        return
                    self.requests.append(request)
                if not self._respond(connection, len(self.requests)):
                    return


def _read_request(connection: socket.socket) -> SeenRequest | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, body = received.split(b"\r\n\r\n", 1)
    line, *header_lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, value in (each.split(":", 1) for each in header_lines)
    }
    while len(body) < int(headers.get("content-length", 0)):
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    return SeenRequest(line, headers, body)
