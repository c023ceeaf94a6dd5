"""How an answer is read: within its time and size, past interim answers, with an eye on what is left over.

One call's answer must not be taken for another's. So interim answers are read past to the final one
(`http.client` of Python 3.11 to 3.14 stops at 102 and 103), and when it has been read, what else has come is
looked for: in the reader's own buffer, and on the socket.
"""

from __future__ import annotations

import io
import ssl
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from transfer_worker.gateway.exchange import Exchange


class TimedReader(io.RawIOBase):
    """A socket's reading end on which every read has only what is left of the exchange's time."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self.sock, self._exchange = sock, exchange
        self._raw = sock.makefile("rb", buffering=0)
        self.is_done = False

    def readable(self) -> bool:
        """Return that it is one."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read once from the socket; nothing, once it is done."""
        if self.is_done:
            return 0
        self.sock.settimeout(self._exchange.seconds_to_read())
        byte_count = self._raw.readinto(buffer) or 0
        self._exchange.note_received(buffer[:byte_count])
        return byte_count

    def close(self) -> None:
        """Close this end alone; the socket stays open."""
        self._raw.close()
        super().close()


class AnswerReader(io.BufferedReader):
    """What one answer is read from; `http.client` closes it at the answer's end."""

    def __init__(self, raw: TimedReader, exchange: Exchange) -> None:
        super().__init__(raw)
        self._timed, self._exchange = raw, exchange

    def close(self) -> None:
        """Look for what is left over, and close."""
        if not self.closed:
            self._timed.is_done = True  # from here on, only what is in the buffer
            left_over = self.peek(1) or take_unasked(self._timed.sock)
            if left_over:
                self._exchange.note_left_over()
        super().close()


class TimedSocket:
    """The one method of a socket that `http.client.HTTPResponse` uses."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock, self._exchange = sock, exchange

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what the answer is read from."""
        return AnswerReader(TimedReader(self._sock, self._exchange), self._exchange)


class FinalResponse(HTTPResponse):
    """A response whose interim ones (RFC 9110, 15.2) were read past; `http.client` skips 100 alone."""

    exchange: Exchange

    def begin(self) -> None:
        """Read heads up to the final one."""
        while True:
            super().begin()
            self.exchange.note_head(self.status)
            if self.status >= HTTPStatus.OK or self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                return
            self.headers = self.msg = None  # type: ignore[assignment] # begins anew


def take_unasked(sock: socket.socket) -> bytes | None:
    """Return what has come on a connection on which nothing is awaited; None for nothing.

    Empty where the far end has ended it. By reading, because over TLS a socket with news need not have any
    that is ours (session tickets); so whatever is found is gone, and the connection must be closed.
    """
    sock.settimeout(0)
    try:
        return sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    except OSError:
        return b""
