"""One exchange with the platform: its time budget, how far it got, and whether its answer is its own.

What `requests` and the SDK report after a failure does not always say whether the request left: a TLS
handshake that times out looks like a lost answer (urllib3 2.8, `HTTPConnectionPool._make_request`), and
their timeout bounds each read, so that a server which drips bytes can hold a thread for ever. So the
connections themselves take notes here.

::

    PREPARING ──▶ CONNECTING ──▶ WRITING ──▶ (answer, silence, reset …)
        │             │             └ from here on the platform may act
        │             └ name lookup, TCP, a proxy's CONNECT, TLS: nothing of the request has left
        └ reused connections go straight to WRITING
    HELD_UP: the time was over before the first byte; nothing was written, on purpose
"""

from __future__ import annotations

import re
import time
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from transfer_worker.gateway.rules import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable

LAST_LOOK_SECONDS: Final = 0.05
"""How long an overdue exchange still reads: an answer that waits in the socket buffer of a process that was
paused is taken, not thrown away."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""No answer of this API is near this; whatever is longer is a stray download."""


_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] [0-9]{3}")
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_CUT_STATUS_LINE: Final = re.compile(rb"H(T(T(P(/[0-9. ]*)?)?)?)?\Z")


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

    Attributes:
        stage: How far it got.
        is_reused: Whether the request went over a connection that had carried another before.
        must_close: Whether anything was seen on the connection for which it must not be used again.
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
        self.is_reused = self.must_close = False
        self._received = bytearray()
        self._heads = 0
        self._has_left_over = False

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

    def note_received(self, piece: memoryview) -> None:
        """Add to what has arrived.

        Raises:
            OSError: The answer is longer than any answer can be.
        """
        self._received += piece
        if len(self._received) > MAX_ANSWER_BYTES:
            raise OSError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")

    def note_head(self, status: int) -> None:
        """Note that the head of an answer was read, interim or final."""
        self._heads += 1
        self.must_close |= status == HTTPStatus.SWITCHING_PROTOCOLS  # what follows would be no HTTP

    def note_left_over(self) -> None:
        """Note that more has come than the answer."""
        self._has_left_over = self.must_close = True

    def find_doubt(self, *, is_whole: bool) -> Doubt | None:
        """Return why the answer may be another call's; None where it is this request's, beyond doubt.

        A connection's first request can only be given its own. On a later one, a late answer to an earlier
        request may have come first: then the real one follows, or its bytes complete the late one.

        Args:
            is_whole: Whether the answer's head says how long its body is, and it arrived so.
        """
        if not self.is_reused:
            return None
        if self._has_left_over or len(_STATUS_LINE.findall(self._received)) > self._heads:
            return Doubt.MORE_THAN_ONE
        # `http.client` takes a head that the connection's end cuts off for a whole one.
        is_head_cut = len(_END_OF_HEAD.findall(self._received)) < self._heads
        if not is_whole or is_head_cut or _CUT_STATUS_LINE.search(self._received):
            return Doubt.BROKEN_OFF
        return None
