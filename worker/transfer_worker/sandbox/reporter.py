"""What the sandbox tells of transfers after it has accepted them: to who asks, in the room, by webhooks."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from transfer_worker.sandbox.courses import CONNECTED, RINGING
from transfer_worker.sandbox.webhooks import Webhooks, WebhookSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from transfer_worker.sandbox.courses import Course, Step

KEPT_SECONDS: Final = 15 * 60.0
"""How long after it settles a transfer can be asked for (piopiy-agent 1.2.1)."""

MAX_KEPT: Final = 100_000
_NUMBER_OF_ANOTHER: Final = "12025550198"


@dataclass(slots=True)
class _Transfer:
    request_id: str
    call_id: str
    number: str
    status: str = "queued"
    reason: str = ""
    settled_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as `GET /v3/transfers/{request_id}` answers (piopiy-agent 1.2.1)."""
        value = {"request_id": self.request_id, "call_id": self.call_id, "status": self.status}
        return {**value, "reason": self.reason} if self.reason else value


class Reporter:
    """Plays the courses of transfers in one thread, and keeps what can be asked for. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._transfers: dict[str, _Transfer] = {}
        self._messages: deque[dict[str, Any]] = deque(maxlen=MAX_KEPT)
        self._sender = WebhookSender()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def set_webhooks(self, webhooks: Webhooks) -> None:
        """Choose where webhooks go from now on."""
        self._sender.settings = webhooks

    def begin(self, call_id: str, number: str, course: Course) -> str:
        """Begin a transfer that was accepted, and return its request id."""
        transfer = _Transfer(uuid.uuid4().hex, call_id, number)
        with self._lock:
            if self._is_closed:
                return transfer.request_id
            self._transfers[transfer.request_id] = transfer
            for body in self._sender.first_leg(call_id):
                self._sender.send(body)
            at = time.monotonic()
            for step in course:
                at += step.after_seconds
                self._plan(at, partial(self._take, transfer, step))
            while len(self._transfers) > MAX_KEPT:
                del self._transfers[next(iter(self._transfers))]
            if course and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sandbox-reporter", daemon=True)
                self._thread.start()
        return transfer.request_id

    def find(self, request_id: str) -> dict[str, Any] | None:
        """Return what is answered of a transfer; None for one that is not known, or not any more."""
        with self._lock:
            transfer = self._transfers.get(request_id)
            if transfer is None or (
                transfer.settled_at is not None and time.monotonic() - transfer.settled_at > KEPT_SECONDS
            ):
                return None
            return transfer.as_dict()

    def find_running(self, call_id: str) -> str | None:
        """Return the request id of a call's transfer that is not settled, if there is one."""
        with self._lock:
            running = (one for one in self._transfers.values() if one.call_id == call_id)
            return next((one.request_id for one in running if one.settled_at is None), None)

    def transfers(self, call_id: str | None = None) -> list[dict[str, Any]]:
        """Return what truly became of the transfers, of one call or of all, in their order."""
        with self._lock:
            wanted = [one for one in self._transfers.values() if call_id in {None, one.call_id}]
            return [one.as_dict() for one in wanted]

    def room_messages(self, call_id: str | None = None, since: int = 0) -> list[dict[str, Any]]:
        """Return what was said in the rooms after a number, each with its `sequence` and `message`."""
        with self._lock:
            return [
                entry
                for entry in self._messages
                if entry["sequence"] > since and call_id in {None, entry["message"]["call_id"]}
            ]

    def webhooks(self) -> list[dict[str, Any]]:
        """Return the webhooks that were sent, and what was answered to each."""
        return self._sender.sent()

    def clear(self) -> None:
        """Forget all transfers, and what was to happen to them."""
        with self._lock:
            self._due.clear()
            self._transfers.clear()
            self._messages.clear()

    def close(self) -> None:
        """End; nothing is told any more."""
        with self._lock:
            self._is_closed = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._sender.close()

    def _plan(self, at: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), act))
        self._lock.notify()

    def _run(self) -> None:
        with self._lock:
            while not self._is_closed:
                wait_seconds = self._due[0][0] - time.monotonic() if self._due else None
                if wait_seconds is None or wait_seconds > 0:
                    self._lock.wait(wait_seconds)
                    continue
                heapq.heappop(self._due)[2]()

    def _take(self, transfer: _Transfer, step: Step) -> None:
        """Let one step happen; called with the lock held."""
        is_first_final = step.is_final and transfer.settled_at is None and not step.is_of_another
        if is_first_final:
            transfer.settled_at = time.monotonic()
            transfer.status = "completed" if step.status == CONNECTED else "failed"
            transfer.reason = "" if step.status == CONNECTED else step.status
        for _ in range(step.times):
            self._say_in_room(transfer, step)
            number = _NUMBER_OF_ANOTHER if step.is_of_another else transfer.number
            for delay, body in self._sender.events(transfer.call_id, number, step.status):
                self._plan(time.monotonic() + delay, partial(self._sender.send, body))

    def _say_in_room(self, transfer: _Transfer, step: Step) -> None:
        status = {RINGING: "started", CONNECTED: "completed"}.get(step.status, "failed")
        message = {
            "type": "transfer_status",
            "status": status,
            "request_id": uuid.uuid4().hex if step.is_of_another else transfer.request_id,
            "call_id": transfer.call_id,
        }
        if status == "failed":
            message["reason"] = step.status
        sequence = self._messages[-1]["sequence"] + 1 if self._messages else 1
        self._messages.append({"sequence": sequence, "message": message})
