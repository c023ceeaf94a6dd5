"""A local fake of the Piopiy API: it judges with the vendor's own validator and writes everything down.

`POST /v3/voice/pcmo/transfer` answers like the platform, or misbehaves as told (`sandbox.behaviours`). It
removes no repeats: a client that sends twice moves the call twice, and the record shows it. `docs/sandbox.md`
describes its addresses.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from transfer_worker.sandbox.controls import Controls
from transfer_worker.sandbox.http_server import ConnectionServer
from transfer_worker.sandbox.record import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

DEFAULT_TOKEN: Final = "sandbox-token"  # noqa: S105 - opens nothing but the sandbox


class SandboxServer:
    """The sandbox, as a context manager: it listens from construction on and answers inside the block.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        token: The bearer token that is accepted.
        record_path: File of JSON lines to keep the record in as well; what it holds already is counted in.

    Attributes:
        controls: Scripts and faults: `controls.script(…)`, `controls.set_faults(…)`, `controls.clear()`.

    Raises:
        OSError: The address can't be listened on, or the file not be opened.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = DEFAULT_TOKEN,
        record_path: Path | None = None,
    ) -> None:
        self.controls = Controls(token, Recorder(record_path))
        try:
            self._server = ConnectionServer((host, port), self.controls)
        except OSError:
            self.controls.recorder.close()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controls.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.end_connections()
        self.controls.reporter.close()
        self.controls.recorder.close()

    @property
    def origin(self) -> str:
        """Root of the server, such as ``http://127.0.0.1:8900``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def url(self) -> str:
        """What `PIOPIY_API_URL` has to be."""
        return f"{self.origin}/v3"

    @property
    def token(self) -> str:
        """What `PIOPIY_TOKEN` has to be."""
        return self.controls.token

    def requests(self, call_id: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after the number `since`, of one call or of all, in order of arrival."""
        return self.controls.recorder.find(call_id, since)

    def transfers(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Return what truly became of the transfers, of one call or of all, in their order."""
        return self.controls.reporter.transfers(call_id)

    def room_messages(self, call_id: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """Return what was said in the calls' rooms after the number `since`, in its order."""
        return self.controls.reporter.room_messages(call_id, since)

    def webhooks(self) -> list[dict[str, Any]]:
        """Return the webhooks that were sent, and what was answered to each."""
        return self.controls.reporter.webhooks()

    def post_count(self, call_id: str | None = None) -> int:
        """Return how many requests came, for one call or for all."""
        return self.controls.recorder.post_count(call_id)

    def carried_out_count(self, call_id: str | None = None) -> int:
        """Return how often the simulated platform moved a call, or any call."""
        return self.controls.recorder.carried_out_count(call_id)


def run(
    host: str,
    port: int,
    token: str,
    *,
    record_path: Path | None = None,
    on_ready: Callable[[SandboxServer], None] = lambda _: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then stop cleanly. For a main thread only.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        token: The bearer token that is accepted.
        record_path: File of JSON lines to keep the record in as well.
        on_ready: Called once requests are answered.

    Raises:
        OSError: The address can't be listened on, or the file not be opened.
    """
    is_stopping = False

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        # No lock in here (Event.set() has one): a signal may arrive while the main thread holds it.
        nonlocal is_stopping
        is_stopping = True

    with SandboxServer(host, port, token, record_path) as sandbox:
        before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            on_ready(sandbox)
            while not is_stopping:
                time.sleep(0.1)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
