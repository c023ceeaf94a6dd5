"""A proxy in front of the platform, as gateways and load balancers are: it speaks in the platform's name.

::

    worker ──▶ middleman ──▶ sandbox       Both live in one process, so that it knows what is running.

=============  ===============================================================================
`hints`        an interim 102 or 103 at once, the answer later
`503_before`   its own 503, and the platform never hears of the request
`503_after`    its own 503 after the platform has answered
`left_over`    the answer, and in one piece with it a part of another, or a whole one
`late`         a part of an answer that comes with the next request's on the same connection, before it
`unasked`      a part of an answer, a moment after the real one
`409`          for a call of which a request was carried out a moment ago: a transfer is in progress
=============  ===============================================================================

Late pieces are never a whole answer: that HTTP/1.1 can't tell apart (docs/outcomes.md).
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import socketserver
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from chaos.faults import now_ms
from transfer_worker.sandbox.http_server import TRANSFER_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from transfer_worker.sandbox.server import SandboxServer

RUNNING_SECONDS: Final = 1.5
"""For how long after it was carried out a transfer is in progress."""

_RESET: Final = struct.pack("ii", 1, 0)
_INTERIM: Final = (
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n",
)


def _make(status: str, body: bytes, kind: str = "application/json", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


OWN_503: Final = (
    _make(
        "503 Service Unavailable", b"upstream connect error or disconnect/reset before headers", "text/plain"
    ),
    _make("503 Service Unavailable", b'{"message": "Service Unavailable"}'),
    _make(
        "503 Service Unavailable", b'{"message": "Service Unavailable"}', "application/json", "Retry-After: 1"
    ),
    _make("503 Service Unavailable", b"", "text/plain", "Retry-After: 0"),
)
SOMEBODY_ELSES: Final = (
    _make("404 Not Found", b'{"error": "CALL_NOT_FOUND"}'),
    _make("429 Too Many Requests", b'{"error": "rate_limited"}'),
    _make("503 Service Unavailable", b'{"error": "unavailable"}'),
    _make("200 OK", b'{"message": "queued"}'),
)


@dataclass(frozen=True, slots=True)
class _Request:
    raw: bytes
    path: str
    key: str
    body: dict[str, Any]


class Middleman(socketserver.ThreadingTCPServer):
    """Listens on a port of 127.0.0.1 and forwards to `sandbox`; a context manager.

    Args:
        sandbox: The platform behind it.
        mix: The probability of each thing that it does; what is left of 1 is nothing.
        record_path: File of JSON lines: what it answered by itself, and what it did to others' answers.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, sandbox: SandboxServer, mix: Mapping[str, float], seed: int, record_path: Path
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.sandbox, self.mix, self.chance = sandbox, dict(mix), random.Random(seed)
        behind = urlsplit(sandbox.origin)
        self.behind = behind.hostname, behind.port
        self._lock = threading.Lock()
        self._record = record_path.open("a", encoding="utf-8")
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._record.close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""

    def write_down(self, fields: dict[str, Any]) -> None:
        with self._lock:
            self._record.write(json.dumps(fields) + "\n")
            self._record.flush()

    def draw(self, request: _Request) -> tuple[str, str]:
        """Return what to do about a request; with a 409, the key of the transfer that is in progress, too."""
        if request.path != TRANSFER_PATH:
            return "", ""
        with self._lock:
            chance = self.chance.random()
        for act, probability in self.mix.items():
            chance -= probability
            if chance < 0:
                running = self.find_running(request) if act == "409" else ""
                return ("" if act == "409" and not running else act), running
        return "", ""

    def find_running(self, request: _Request) -> str:
        entries = self.sandbox.requests(str(request.body.get("call_id")))
        since_ms = now_ms() - RUNNING_SECONDS * 1000
        running = [one for one in entries if one["carried_out"] and one["received_at_ms"] >= since_ms]
        return str(running[-1]["idempotency_key"]) if running else ""

    def choose(self, among: tuple[bytes, ...]) -> bytes:
        with self._lock:
            return self.chance.choice(among)

    def cut(self, whole: bytes) -> bytes:
        """Return a part of an answer from its beginning, never all of it."""
        with self._lock:
            return whole[: self.chance.randint(1, len(whole) - 1)]


class _Client(socketserver.BaseRequestHandler):
    """One connection of a worker."""

    server: Any

    def handle(self) -> None:
        self.late = b""
        self.is_disturbed = False
        with contextlib.suppress(OSError):
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (request := _read_request(self.request)) is not None:
                if not self._serve(request):
                    return

    def _serve(self, request: _Request) -> bool:
        """Serve one request; return whether the connection can carry another."""
        act, running = self.server.draw(request)
        was_disturbed, self.is_disturbed = self.is_disturbed, act in {"late", "unasked"}
        if request.path == TRANSFER_PATH and (act or was_disturbed):
            is_disturbed = was_disturbed or act in {"left_over", "unasked"}
            self._write_down(request, act, running, is_disturbed=is_disturbed)
        late, self.late = self.late, b""
        if late:
            self.request.sendall(late)
        if act == "503_before":
            self.request.sendall(self.server.choose(OWN_503))
            return True
        if act == "409":
            body = json.dumps({"error": "transfer_in_progress", "request_id": running}).encode()
            self.request.sendall(_make("409 Conflict", body))
            return True
        if act == "hints":
            self.request.sendall(self.server.choose(_INTERIM))
            time.sleep(0.05)  # the platform takes its time; nobody waits for this
        answer, is_whole = self._forward(request, passes_on=act not in {"503_after", "left_over"})
        if act == "503_after" and answer:
            self.request.sendall(self.server.choose(OWN_503))
            return True
        if act == "left_over" and answer:
            other = self.server.choose(SOMEBODY_ELSES)
            self.request.sendall(answer + self.server.choose((other, self.server.cut(other), b"\r\n")))
            return is_whole
        piece = self.server.cut(self.server.choose(SOMEBODY_ELSES))
        if act == "late":
            self.late = piece
        elif act == "unasked" and is_whole:
            time.sleep(0.01)
            self.request.sendall(piece)
        return is_whole

    def _write_down(self, request: _Request, act: str, running: str, *, is_disturbed: bool) -> None:
        self.server.write_down(
            {
                "received_at_ms": now_ms(),
                "call_id": str(request.body.get("call_id")),
                "idempotency_key": request.key,
                "pipeline": request.body.get("pipeline"),
                "act": act,
                "number": len(self._posts_of(request)),
                "running": running,
                "is_disturbed": is_disturbed,
            }
        )

    def _posts_of(self, request: _Request) -> list[dict[str, Any]]:
        entries = self.server.sandbox.requests(str(request.body.get("call_id")))
        return [one for one in entries if one["idempotency_key"] == request.key]

    def _forward(self, request: _Request, *, passes_on: bool) -> tuple[bytes, bool]:
        """Hand a request on; return what came back, and whether it was whole."""
        answer = b""
        with socket.create_connection(self.server.behind, timeout=10) as upstream:
            upstream.sendall(request.raw)
            while not _is_whole(answer):
                ready, _, _ = select.select([upstream, self.request], [], [], 10)
                if self.request in ready or not ready:
                    return b"", False  # the worker has left, or nobody ever answers
                try:
                    piece = upstream.recv(65536)
                except ConnectionResetError:
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return b"", False
                if not piece:
                    return answer, False
                answer += piece
                if passes_on:
                    self.request.sendall(piece)
        return answer, True


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= _length_of(head)


def _length_of(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def _read_request(connection: socket.socket) -> _Request | None:
    raw = b""
    while not _is_whole(raw):
        piece = connection.recv(65536)
        if not piece:
            return None
        raw += piece
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    with contextlib.suppress(ValueError):
        value = json.loads(body)
        return _Request(raw, line.split(" ")[1], headers.get("idempotency-key", ""), value)
    return _Request(raw, line.split(" ")[1], "", {})
