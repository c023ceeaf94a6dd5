"""An HTTP proxy that carries CONNECT and nothing else, as sites that let nobody out directly have one."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl

_CHUNK_BYTES = 65536


class ConnectProxy(socketserver.ThreadingTCPServer):
    """Listens on a port of 127.0.0.1; a context manager.

    Args:
        login: ``user:password`` that clients must show; None lets everybody in.
        refusal: The head that it answers with instead of connecting.
        tls: Makes it a proxy that is itself reached over TLS.

    Attributes:
        asked: The lines that clients began with, such as ``CONNECT rest.piopiy.com:443 HTTP/1.1``.
        tunnel_count: How many tunnels it made.
        ended_count: How many connections have ended, at both their ends.
    """

    daemon_threads = True

    def __init__(
        self, *, login: str | None = None, refusal: bytes = b"", tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.login, self.refusal, self.tls = login, refusal, tls
        self.asked: list[str] = []
        self.tunnel_count = self.ended_count = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """What `PIOPIY_PROXY_URL` has to be, login included."""
        scheme = "http" if self.tls is None else "https"
        login = f"{self.login}@" if self.login else ""
        return f"{scheme}://{login}127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class _Connection(socketserver.BaseRequestHandler):
    server: Any

    def handle(self) -> None:
        self._serve()
        self.server.ended_count += 1

    def _serve(self) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            near = stack.enter_context(self.request)
            if self.server.tls is not None:
                near = stack.enter_context(self.server.tls.wrap_socket(near, server_side=True))
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(_CHUNK_BYTES) or b"\r\n\r\n"
            line, *headers = head.decode("latin-1").split("\r\n")
            self.server.asked.append(line)
            if self.server.refusal:
                near.sendall(self.server.refusal)
                return
            wanted = base64.b64encode((self.server.login or "").encode()).decode()
            if self.server.login and f"Proxy-Authorization: Basic {wanted}" not in headers:
                near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            method, target, _ = line.split(" ")
            if method != "CONNECT":
                near.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = target.rpartition(":")
            try:
                far = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            except OSError:
                near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            self.server.tunnel_count += 1
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _carry(near, far)


def _carry(near: Any, far: socket.socket) -> None:
    other = {near: far, far: near}
    while True:
        pending = getattr(near, "pending", lambda: 0)()
        ready = [near] if pending else select.select([near, far], [], [])[0]
        for end in ready:
            piece = end.recv(_CHUNK_BYTES)
            if not piece:
                return
            other[end].sendall(piece)
