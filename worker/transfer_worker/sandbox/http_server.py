"""The sandbox's HTTP side: one thread for each connection, and what is answered under each address."""

from __future__ import annotations

import hmac
import ipaddress
import json
import select
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from piopiy.voice.exceptions import PiopiyValidationError
from piopiy.voice.validators import validate_transfer_request

from transfer_worker.sandbox.behaviours import Behaviour, Manner, parse_behaviour
from transfer_worker.sandbox.director import find_first_number
from transfer_worker.sandbox.record import canonicalize_call_id

if TYPE_CHECKING:
    from transfer_worker.sandbox.controls import Controls

TRANSFER_PATH: Final = "/v3/voice/pcmo/transfer"
STATUS_PATH: Final = "/v3/transfers/"
HEALTH_PATH: Final = "/_sandbox/health"
MAX_BODY_BYTES: Final = 1024 * 1024
DRIP_SECONDS: Final = 0.1

_UNAUTHORIZED: Final = parse_behaviour("401")
# In no JSON, as a web server says it: of a call it says nothing.
_NO_SUCH_ADDRESS: Final = Behaviour(
    text="", carried_out=False, status=404, body=b"404 page not found\n", content_type="text/plain"
)
_LINGER_NOT: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends a reset


class ConnectionServer(ThreadingTCPServer):
    """A thread for each connection, all of which can be ended."""

    # Not http.server's own class: that looks up its name first, which can take seconds without a name server.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], controls: Controls) -> None:
        self.controls = controls
        # By what names it may be called, in a network of containers too.
        self.names = frozenset({"localhost", "sandbox", socket.gethostname().lower()})
        self._lock = threading.Lock()
        self._connections: dict[object, threading.Thread] = {}
        self._to_reset: set[object] = set()
        super().__init__(address, RequestHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer one connection in a thread of its own."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def reset_at_end(self, connection: socket.socket) -> None:
        """Have the connection end with a reset instead of a proper close."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        with self._lock:
            self._to_reset.add(connection)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, with a reset if that was asked for."""
        with self._lock:
            self._connections.pop(request, None)
            is_reset = request in self._to_reset
            self._to_reset.discard(request)
        if is_reset:
            request.close()  # without the proper goodbye that the base class says first
        else:
            super().shutdown_request(request)

    def end_connections(self) -> None:
        """End the connections that clients keep open, and wait for their threads."""
        with self._lock:
            open_ones: list[tuple[Any, threading.Thread]] = list(self._connections.items())
            for connection, _ in open_ones:
                # Under the lock, so that the socket can't be closed (and its number reused) in between.
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster
        for _, thread in open_ones:
            thread.join(timeout=5)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class RequestHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ConnectionServer

    def do_POST(self) -> None:
        """Receive a transfer: write it down, then answer it."""
        controls, body = self.server.controls, self._read_body()
        if body is None:
            return
        if urlsplit(self.path).path != TRANSFER_PATH:
            self._behave(_NO_SUCH_ADDRESS)
            return
        payload = _parse(body)
        fields: dict[str, Any] = payload if isinstance(payload, dict) else {}
        call_id = canonicalize_call_id(fields.get("call_id"))
        is_authorized = self._has_token()
        delay_seconds = 0.0
        refusal = _find_refusal(payload) if is_authorized else _UNAUTHORIZED
        if refusal is None:
            behaviour, delay_seconds = controls.director.choose(call_id, fields["pipeline"])
        else:
            behaviour = refusal
        controls.recorder.record(
            {
                "call_id": call_id,
                "idempotency_key": self.headers.get("Idempotency-Key"),
                "authorized": is_authorized,
                "behaviour": behaviour.text,
                "status": behaviour.status,
                "carried_out": behaviour.carried_out,
                "pipeline": fields.get("pipeline"),
            }
        )
        if delay_seconds:
            controls.stopping.wait(delay_seconds)
        if behaviour.carried_out:
            request_id = controls.begin_course(call_id, find_first_number(fields["pipeline"]))
        else:
            request_id = controls.reporter.find_running(call_id) or "sandbox-409"
        self._behave(behaviour.naming(call_id, request_id))

    def do_GET(self) -> None:
        """Say how a transfer went, or show what the sandbox knows."""
        self._skip_body()
        path = urlsplit(self.path).path
        if path.startswith(STATUS_PATH):
            self._tell_status(unquote(path.removeprefix(STATUS_PATH)))
        elif path == HEALTH_PATH:
            self._answer(200, {"status": "ok", "requests": self.server.controls.recorder.post_count()})
        elif self._may_control():
            self._show(path)

    def _may_control(self) -> bool:
        """Say whether whoever asks may see and choose what happens; refuse, where not.

        The host first: a page in a browser reaches this machine under a name of its own (DNS rebinding).
        """
        if not _is_own_host(self.headers.get("Host", ""), self.server.names):
            self._answer(403, {"error": "the Host header names another machine"})
        elif not self._has_token():
            self._answer(401, {"error": "send the sandbox's token: Authorization: Bearer sandbox-token"})
        else:
            return True
        return False

    def _has_token(self) -> bool:
        said = self.headers.get("Authorization", "").encode()
        return hmac.compare_digest(said, f"Bearer {self.server.controls.token}".encode())

    def _tell_status(self, request_id: str) -> None:
        controls = self.server.controls
        is_authorized = self._has_token()
        fault, delay_seconds = controls.director.choose_for_status()
        controls.note_asked(request_id)
        if delay_seconds:
            controls.stopping.wait(delay_seconds)
        found = controls.reporter.find(request_id)
        if not is_authorized:
            self._behave(_UNAUTHORIZED)
        elif fault is not None:
            self._behave(fault)
        elif found is None:
            self._answer(404, {"error": "not_found"})
        else:
            self._answer(200, found)

    def _show(self, path: str) -> None:
        controls, query = self.server.controls, parse_qs(urlsplit(self.path).query)
        call_id, since = query.get("call_id", [None])[0], query.get("since", ["0"])[0]
        call = None if call_id is None else canonicalize_call_id(call_id)
        if not since.isdecimal():
            self._answer(400, {"error": "since must be the number of a request"})
        elif path == "/_sandbox/requests":
            self._answer(200, {"requests": controls.recorder.find(call_id, int(since))})
        elif path == "/_sandbox/transfers":
            self._answer(
                200, {"transfers": controls.reporter.transfers(call), "asked": controls.count_asked()}
            )
        elif path == "/_sandbox/room":
            self._answer(200, {"messages": controls.reporter.room_messages(call, int(since))})
        elif path == "/_sandbox/webhooks":
            self._answer(200, {"webhooks": controls.reporter.webhooks()})
        else:
            self._answer(404, {"error": "not_found"})

    def do_PUT(self) -> None:
        """Choose what will happen."""
        controls, path, body = self.server.controls, urlsplit(self.path).path, self._read_body()
        if body is None or not self._may_control():
            return
        value: Any = _parse(body)
        try:
            if path == "/_sandbox/faults":
                controls.set_faults(**value)
            elif path == "/_sandbox/status_faults":
                controls.set_status_faults(**value)
            elif path == "/_sandbox/webhooks":
                controls.set_webhooks(**value)
            elif path.startswith("/_sandbox/courses/"):
                controls.set_course(unquote(path.rsplit("/", 1)[1]), list(value))
            elif path.startswith("/_sandbox/behaviours/"):
                script = {"behaviours": value} if isinstance(value, list) else value
                controls.script(unquote(path.rsplit("/", 1)[1]), **script)
            else:
                self._answer(404, {"error": "not_found"})
                return
        except (ValueError, TypeError, AttributeError) as error:
            self._answer(400, {"error": str(error)})
            return
        self._answer(200, {"message": "set"})

    def do_DELETE(self) -> None:
        """Forget the requests, or end the faults."""
        self._skip_body()
        if not self._may_control():
            return
        controls, path = self.server.controls, urlsplit(self.path).path
        if path == "/_sandbox/requests":
            controls.clear()
        elif path == "/_sandbox/faults":
            controls.set_faults()
        elif path == "/_sandbox/status_faults":
            controls.set_status_faults()
        else:
            self._answer(404, {"error": "not_found"})
            return
        self._answer(200, {"message": "cleared"})

    def log_message(self, *_: object) -> None:
        """Write no access log: the record is better."""

    def _read_body(self) -> bytes | None:
        """Return the body; None if the client left before its end, which nobody would act upon."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return b""
        body = self.rfile.read(int(length))
        if len(body) == int(length):
            return body
        self.close_connection = True
        return None

    def _skip_body(self) -> None:
        """Read past a body where none is wanted: left unread, it would pass for the next request."""
        if "Content-Length" in self.headers:
            self._read_body()

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self._behave(Behaviour(text="", carried_out=False, status=status, body=body))

    def _behave(self, behaviour: Behaviour) -> None:
        if behaviour.manner is Manner.ANSWER:
            self.wfile.write(behaviour.to_bytes())
            self.close_connection |= bool(behaviour.missing_bytes)
            return
        self.close_connection = True
        if behaviour.manner is Manner.RESET:
            self.server.reset_at_end(self.connection)
        elif behaviour.manner is Manner.SILENCE:
            self._wait_for_goodbye()
        elif behaviour.manner is Manner.DRIP:
            for byte in behaviour.to_bytes():
                self.wfile.write(bytes([byte]))
                if self.server.controls.stopping.wait(DRIP_SECONDS):
                    break

    def _wait_for_goodbye(self) -> None:
        while not self.server.controls.stopping.is_set():
            if select.select([self.connection], [], [], 0.1)[0]:
                return


def _is_own_host(header: str, names: frozenset[str]) -> bool:
    """Say whether a Host header has an address, or one of these names; not one that anybody has made up."""
    try:
        host = urlsplit(f"//{header}").hostname or ""
        return host in names or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _find_refusal(payload: object) -> Behaviour | None:
    """Return the 400 that the vendor's validator (piopiy 1.2.2) calls for, if it does."""
    try:
        validate_transfer_request(payload)
    except PiopiyValidationError as error:
        body = json.dumps({"error": str(error), "field": error.field}).encode()
        return Behaviour(text="invalid", carried_out=False, status=400, body=body)
    return None
