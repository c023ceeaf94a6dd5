"""TLS in front of a server that has none, such as the Redis that we carry.

As with Redis's own TLS port, who does not speak TLS is hung up on; unless the front takes both, as an address
must that Sentinels without TLS watch.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import ssl
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import trustme

_CHUNK_BYTES = 65536
_HANDSHAKE = b"\x16"
"""The first byte of TLS; no word of Redis's protocol begins with it."""


class TlsFront(socketserver.ThreadingTCPServer):
    """Listens on a port of 127.0.0.1 and forwards to `target`; a context manager.

    Attributes:
        plain_count: How many connections did not speak TLS.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: int, authority: trustme.CA, *, takes_plain: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target, self.takes_plain, self.plain_count = target, takes_plain, 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)
        self._thread = threading.Thread(target=self.serve_forever, name="tls-front", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: Any

    def handle(self) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            client: socket.socket = self.request
            if client.recv(1, socket.MSG_PEEK) == _HANDSHAKE:
                client = stack.enter_context(self.server.context.wrap_socket(client, server_side=True))
            else:
                self.server.plain_count += 1
                if not self.server.takes_plain:
                    return
            target = stack.enter_context(socket.create_connection(("127.0.0.1", self.server.target)))
            _pump(client, target)


def _pump(client: socket.socket, target: socket.socket) -> None:
    others = {client: target, target: client}
    while True:
        # What TLS has decrypted already, `select` does not see.
        held = [client] if isinstance(client, ssl.SSLSocket) and client.pending() else []
        for ready in held or select.select(list(others), [], [])[0]:
            data = ready.recv(_CHUNK_BYTES)
            if not data:
                return
            others[ready].sendall(data)
