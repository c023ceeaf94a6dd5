"""Connections that know whether anything was written, and that end on time.

What `requests` and the SDK report after a failure does not always say whether the request left: a TLS
handshake that times out looks like a lost answer (urllib3 2.8, `HTTPConnectionPool._make_request`), and
their timeout bounds each read, so that a server which drips bytes can hold a thread for ever. So the
connections themselves take notes: how far the exchange got, and how much of its time is left.

::

    PREPARING ──▶ CONNECTING ──▶ WRITING ──▶ (answer, silence, reset …)
        │             │             └ from here on the platform may act
        │             └ name lookup, TCP, TLS: nothing of the request has left
        └ reused connections go straight to WRITING
    HELD_UP: the time was over before the first byte; nothing was written, on purpose
"""

from __future__ import annotations

import io
import ipaddress
import queue
import socket
import threading
import time
from enum import Enum, auto
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import PreparedRequest
    from urllib3.util.retry import Retry

LAST_LOOK_SECONDS: Final = 0.05
"""How long an overdue exchange still reads: an answer that waits in the socket buffer of a process that was
paused is taken, not thrown away."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""No answer of this API is near this; whatever is longer is a stray download."""


class Stage(Enum):
    """How far one exchange got. Everything but `WRITING` proves that nothing was sent."""

    PREPARING = auto()
    CONNECTING = auto()
    HELD_UP = auto()
    WRITING = auto()


class Exchange:
    """One request's time budget, and how far it got.

    Args:
        timeout_seconds: What the whole exchange may take, from now.
        write_within_seconds: When the first byte must have been written, from now; None for the same.
        on_writing: Called when it is about to be.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        write_within_seconds: float | None = None,
        on_writing: Callable[[], None] = lambda: None,
    ) -> None:
        now = time.monotonic()
        self.stage = Stage.PREPARING
        self._deadline = now + timeout_seconds
        self._write_by = self._deadline if write_within_seconds is None else now + write_within_seconds
        self._on_writing = on_writing
        self._had_last_look = False
        self._received_bytes = 0

    def seconds_to_connect(self) -> float:
        """Return the time left before the first byte must be out, never negative."""
        return max(0.0, min(self._deadline, self._write_by) - time.monotonic())

    def enter(self, stage: Stage) -> None:
        """Note the next step, `CONNECTING` or `WRITING`.

        Raises:
            TimeoutError: It is too late to begin, and nothing was written.
        """
        if self.stage is not Stage.WRITING and self.seconds_to_connect() <= 0:
            self.stage = Stage.HELD_UP
            raise TimeoutError("held up before the first byte was written")
        self.stage = stage
        if stage is Stage.WRITING:
            self._on_writing()

    def seconds_to_read(self) -> float:
        """Return the time that the next read or write may take.

        Raises:
            TimeoutError: The time is over, the last look included.
        """
        left = self._deadline - time.monotonic()
        if left <= 0 and not self._had_last_look:
            self._had_last_look = True
            left = LAST_LOOK_SECONDS
            self._deadline = time.monotonic() + left
        if left <= 0:
            raise TimeoutError("the exchange took longer than it may")
        return left

    def count_received(self, byte_count: int) -> None:
        """Add to what has arrived.

        Raises:
            OSError: The answer is longer than any answer can be.
        """
        self._received_bytes += byte_count
        if self._received_bytes > MAX_ANSWER_BYTES:
            raise OSError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")


class _TimedReader(io.RawIOBase):
    """A socket's reading end on which every read has only what is left of the exchange's time."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock, self._exchange = sock, exchange
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(self._exchange.seconds_to_read())
        byte_count = self._raw.readinto(buffer) or 0
        self._exchange.count_received(byte_count)
        return byte_count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedSocket:
    """The one method of a socket that `http.client.HTTPResponse` uses."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock, self._exchange = sock, exchange

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._exchange))


class _NotedConnection(HTTPConnection):
    """An HTTP connection that notes its steps in the current exchange of the adapter it belongs to."""

    adapter: ClassVar[NotedAdapter]
    _held: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        """Connect within what is left of the exchange's time, whatever the number of addresses."""
        exchange = self.adapter.exchange
        exchange.enter(Stage.CONNECTING)
        addresses = _look_up(self, self._dns_host, self.port, exchange.seconds_to_connect())
        for tried, address in enumerate(addresses):
            share_seconds = max(0.001, exchange.seconds_to_connect() / (len(addresses) - tried))
            try:
                sock = create_connection(
                    (address, self.port), share_seconds, self.source_address, self.socket_options
                )
            except TimeoutError as error:
                failure: Exception = ConnectTimeoutError(self, f"No connection in {share_seconds:.1f} s")
                failure.__cause__ = error
            except OSError as error:
                failure = NewConnectionError(self, f"No connection: {error}")
                failure.__cause__ = error
            else:
                sock.settimeout(max(0.001, exchange.seconds_to_connect()))  # for the TLS handshake
                return sock
        raise failure

    def request(self, *arguments: Any, **options: Any) -> None:
        """Send head and body in one write; urllib3 2.8 makes two, each a packet."""
        self._held = []
        try:
            super().request(*arguments, **options)
            whole = b"".join(self._held)
        finally:
            self._held = None
        self.send(whole)

    def send(self, data: bytes) -> None:  # type: ignore[override]
        if self._held is not None:
            self._held.append(data)
            return
        if self.sock is None:
            self.connect()
        exchange = self.adapter.exchange
        exchange.enter(Stage.WRITING)
        self.sock.settimeout(exchange.seconds_to_read())
        super().send(data)

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> HTTPResponse:
        timed_socket = _TimedSocket(sock, self.adapter.exchange)
        return HTTPResponse(timed_socket, debuglevel, method)  # type: ignore[arg-type]


class _NotedTLSConnection(_NotedConnection, HTTPSConnection):
    """The same over TLS; the handshake belongs to `CONNECTING`."""


class NotedAdapter(HTTPAdapter):
    """Carries requests to one place over connections that take notes.

    Attributes:
        exchange: The exchange under way; set a new one before each request.
    """

    def __init__(self, *, max_retries: Retry) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=max_retries)
        self.exchange = Exchange(timeout_seconds=0)
        self._pool: HTTPConnectionPool | None = None
        self._plain_class = type("NotedConnection", (_NotedConnection,), {"adapter": self})
        self._tls_class = type("NotedTLSConnection", (_NotedTLSConnection,), {"adapter": self})

    def get_connection_with_tls_context(
        self,
        request: PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: str | tuple[str, str] | None = None,
    ) -> HTTPConnectionPool:
        """Return the pool for the request, told to make connections of ours. Every request has the same."""
        pool = self._pool  # another thread may close the adapter meanwhile
        if pool is None:
            pool = cast(
                "HTTPConnectionPool", super().get_connection_with_tls_context(request, verify, proxies, cert)
            )
            is_tls = isinstance(pool, HTTPSConnectionPool)
            pool.ConnectionCls = self._tls_class if is_tls else self._plain_class
            self._pool = pool
        return pool

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        self._pool = None
        super().close()


def _look_up(connection: HTTPConnection, host: str, port: int, timeout_seconds: float) -> list[str]:
    """Return the addresses of `host`; `getaddrinfo` takes no timeout, so it runs in a thread of its own.

    A lookup that never ends leaves that (daemon) thread behind until the resolver gives up.
    """
    try:
        return [str(ipaddress.ip_address(host.strip("[]")))]
    except ValueError:
        answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, allowed_gai_family(), socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else socket.gaierror(str(error)))
        else:
            answers.put([str(address[0]) for *_, address in found])

    threading.Thread(target=resolve, name="name-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_seconds)
    except queue.Empty:
        raise ConnectTimeoutError(connection, f"No address in {timeout_seconds:.1f} s") from None
    if isinstance(answer, socket.gaierror):
        raise NameResolutionError(host, connection, answer) from answer
    if isinstance(answer, OSError):
        raise NewConnectionError(connection, f"No address: {answer}") from answer
    return answer
