"""Connections that note in the current `Exchange` what they do, and are used again only where that is safe.

Nothing is written where anything has come unasked, and a connection on which more came than one answer is
closed. What no client of HTTP/1.1 can tell apart is a whole answer that comes unasked after the next request
was written, and alone. A connection for each request excludes it (TRANSFER_KEEP_ALIVE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

from transfer_worker.gateway.exchange import Exchange, Stage
from transfer_worker.gateway.name_lookup import look_up
from transfer_worker.gateway.reading import FinalResponse, TimedSocket, take_unasked

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from http.client import HTTPResponse

    from requests import PreparedRequest
    from urllib3.util.retry import Retry


class _NotedConnection(HTTPConnection):
    """An HTTP connection that notes its steps in the current exchange of the adapter it belongs to."""

    adapter: ClassVar[NotedAdapter]
    _held: list[bytes] | None = None
    _has_carried = False
    _tunnelling: Exchange | None = None

    def connect(self) -> None:
        self._has_carried = False
        super().connect()

    @property
    def is_connected(self) -> bool:
        """Whether the connection can carry another request: it is open, and nothing has come unasked."""
        return self.sock is not None and take_unasked(self.sock) is None

    def _new_conn(self) -> socket.socket:
        """Connect within what is left of the exchange's time, whatever the number of addresses."""
        exchange = self.adapter.exchange
        exchange.enter(Stage.CONNECTING)
        addresses = look_up(self, self._dns_host, self.port, exchange.seconds_to_connect())
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

    def _tunnel(self) -> None:
        """Have the proxy connect; its part of the time, and its answer, are not the request's.

        Private to `http.client`, and overridden by urllib3 2.8 as well.
        """
        exchange = self.adapter.exchange
        self._tunnelling = Exchange(timeout_seconds=exchange.seconds_to_connect())
        try:
            super()._tunnel()
            if self._tunnelling.must_close:
                self.close()
                raise NewConnectionError(self, "The proxy said more than that it has connected")
        finally:
            self._tunnelling = None
        self.sock.settimeout(max(0.001, exchange.seconds_to_connect()))  # for the TLS handshake

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
        if self._tunnelling is not None:
            super().send(data)
            return
        if self.sock is None:
            self.connect()
        exchange = self.adapter.exchange
        exchange.enter(Stage.CONNECTING)
        if take_unasked(self.sock) is not None:
            self.close()
            raise NewConnectionError(self, "The far end spoke, or ended the connection, before it was asked")
        exchange.enter(Stage.WRITING)
        exchange.is_reused, self._has_carried = self._has_carried, True
        self.sock.settimeout(exchange.seconds_to_read())
        super().send(data)

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> HTTPResponse:
        exchange = self._tunnelling or self.adapter.exchange
        response = FinalResponse(TimedSocket(sock, exchange), debuglevel, method)  # type: ignore[arg-type]
        response.exchange = exchange
        return response


class _NotedTLSConnection(_NotedConnection, HTTPSConnection):
    """The same over TLS; the handshake belongs to `CONNECTING`."""


class NotedAdapter(HTTPAdapter):
    """Carries requests to one place over connections that take notes.

    Attributes:
        exchange: The exchange under way; set a new one before each request.

    Args:
        max_retries: As for any adapter.
        proxy_url: A proxy to go through by CONNECT.
    """

    def __init__(self, *, max_retries: Retry, proxy_url: str | None = None) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=max_retries)
        self.exchange = Exchange(timeout_seconds=0)
        self._proxies = {"https": proxy_url} if proxy_url else None
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
            made = super().get_connection_with_tls_context(request, verify, self._proxies, cert)
            pool = cast("HTTPConnectionPool", made)
            is_tls = isinstance(pool, HTTPSConnectionPool)
            pool.ConnectionCls = self._tls_class if is_tls else self._plain_class
            self._pool = pool
        return pool

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        self._pool = None
        super().close()
