"""What the sandbox's connections share: who judges, who writes down, who tells, and what was chosen."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transfer_worker.sandbox.behaviours import parse_script
from transfer_worker.sandbox.courses import parse_course
from transfer_worker.sandbox.director import Director, parse_faults
from transfer_worker.sandbox.record import Recorder, canonicalize_call_id
from transfer_worker.sandbox.reporter import Reporter
from transfer_worker.sandbox.webhooks import parse_webhooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Controls:
    """What the sandbox's connections share.

    Attributes:
        token: The bearer token that is accepted.
        recorder: Where requests are written down.
        director: Who decides what happens to them.
        reporter: Who tells what becomes of transfers.
        stopping: Set when the sandbox ends; every wait looks at it.
    """

    token: str
    recorder: Recorder
    director: Director = field(default_factory=Director)
    reporter: Reporter = field(default_factory=Reporter)
    stopping: threading.Event = field(default_factory=threading.Event)
    _asked: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Forget the requests, and let every script and magic number begin anew."""
        self.recorder.clear()
        self.director.forget_steps()
        self.reporter.clear()

    def script(self, call_id: str, behaviours: Iterable[str], then: str = "ok") -> None:
        """Choose what happens to a call's next requests, one behaviour each, and to those after them.

        Raises:
            ValueError: One of them is not a behaviour.
        """
        self.director.set_script(canonicalize_call_id(call_id), parse_script(behaviours, then))

    def set_faults(
        self,
        *,
        upcoming: Iterable[str] = (),
        mix: Mapping[str, float] | None = None,
        seed: int | None = None,
        delay_ms: float = 0.0,
    ) -> None:
        """Choose what befalls requests whoever sends them, in place of what was chosen before.

        Args:
            upcoming: Behaviours for the next requests, one each.
            mix: Probability of each behaviour after those; what is left of 1 is not a fault.
            seed: Makes the draws from the mix repeatable.
            delay_ms: Delay before every answer.

        Raises:
            ValueError: A value can't be used.
        """
        self.director.set_faults(parse_faults(upcoming=upcoming, mix=mix, seed=seed, delay_ms=delay_ms))

    def set_status_faults(
        self,
        *,
        upcoming: Iterable[str] = (),
        mix: Mapping[str, float] | None = None,
        seed: int | None = None,
        delay_ms: float = 0.0,
    ) -> None:
        """Choose what befalls requests that ask how a transfer went: as `set_faults`.

        Raises:
            ValueError: A value can't be used.
        """
        faults = parse_faults(upcoming=upcoming, mix=mix, seed=seed, delay_ms=delay_ms)
        self.director.set_status_faults(faults)

    def set_course(self, call_id: str, steps: Iterable[str]) -> None:
        """Choose what becomes of a call's next transfers.

        Raises:
            ValueError: One of them is not a step.
        """
        self.director.set_course(canonicalize_call_id(call_id), parse_course(steps))

    def set_webhooks(self, **settings: Any) -> None:
        """Choose where webhooks go, and how: as `webhooks.parse_webhooks`.

        Raises:
            ValueError: A value can't be used.
        """
        self.reporter.set_webhooks(parse_webhooks(**settings))

    def begin_course(self, call_id: str, number: str) -> str:
        """Let what becomes of a transfer begin, and return its request id."""
        return self.reporter.begin(call_id, number, self.director.choose_course(call_id, number))

    def note_asked(self, request_id: str) -> None:
        """Count one request that asks how a transfer went."""
        with self._lock:
            self._asked[request_id] += 1

    def count_asked(self) -> dict[str, int]:
        """Return how often each transfer was asked for."""
        with self._lock:
            return dict(self._asked)
