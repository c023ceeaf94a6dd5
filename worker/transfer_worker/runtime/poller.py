"""Asking the platform how accepted requests went, until it says so: a thread beside the transfers.

::

    answer with a request id ──▶ on record ──▶ asked after 2, 3, 5, 8 … s ──▶ completed | failed ──▶ report
                                   (Redis)       12 times in 15 minutes at most, 5 a second for all workers

Who may ask next stands in Redis: a worker that is killed is succeeded, and two never ask for the same. While
there is nothing to ask, Redis is left alone; each heartbeat says whether there is.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Final, Protocol

from transfer_tasks.connection import ReportSource
from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.verdicts import Poll
from transfer_worker.gateway.status import Seen

if TYPE_CHECKING:
    from transfer_tasks.ledger.ledger import Ledger
    from transfer_worker.gateway.status import StatusAnswer

WAITS_SECONDS: Final = (3, 5, 8, 12, 20, 30, 50, 90, 150, 230, 290)
"""Between one question about a request and the next; with the first after 2 s, twelve in 15 minutes."""

MAX_POLLS: Final = len(WAITS_SECONDS) + 1
PACE_SECONDS: Final = 0.2
LEASE_SECONDS: Final = 30.0
"""Longer than any question takes."""

IDLE_SECONDS: Final = 2.0
MAX_HOLD_SECONDS: Final = 900.0
HOLDS_SECONDS: Final = {Seen.RATE_LIMITED: 30.0, Seen.UNAUTHORIZED: 60.0, Seen.SERVER_ERROR: 0.0}
"""How long nobody asks after such an answer, unless it says itself."""


class Client(Protocol):
    """What the poller needs of a `StatusClient`."""

    def ask(self, request_id: str, *, call_id: str) -> StatusAnswer: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Log(Protocol):
    """Where the few lines of the poller go."""

    def info(self, event: str, **fields: object) -> object: ...  # noqa: D102
    def warning(self, event: str, **fields: object) -> object: ...  # noqa: D102


class StatusPoller:
    """Asks for one request after the other, and reports what the platform says.

    Args:
        ledger: The ledger.
        client: Asks the platform.
        log: Hears once that questions are not answered, and once that they are again.
    """

    def __init__(self, ledger: Ledger, client: Client, *, log: Log) -> None:
        self._ledger, self._client, self._log = ledger, client, log
        self._random = random.Random()  # noqa: S311 - spreads questions, guards nothing
        self._stop, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._trouble = ""

    def start(self) -> None:
        """Begin to ask, when there is something to ask."""
        self._thread.start()

    def wake(self) -> None:
        """Learn that there are requests to be asked about."""
        self._woken.set()

    def stop(self, *, within_seconds: float) -> None:
        """End; a question under way may take that long."""
        self._stop.set()
        self._woken.set()
        self._thread.join(timeout=within_seconds)
        self._client.close()

    def poll_once(self) -> float | None:
        """Ask for one request if one is due; return the seconds until it is worth to come again.

        None where there is nothing to ask until `wake` says so.
        """
        take = self._ledger.commands.take_poll(
            lease_ms=round(LEASE_SECONDS * 1000), pace_ms=round(PACE_SECONDS * 1000), max_polls=MAX_POLLS
        )
        try:
            taken = self._ledger.run(take)
            if not isinstance(taken, Poll):
                return None if taken is None else min(taken, IDLE_SECONDS)
            answer = self._client.ask(taken.request_id, call_id=taken.call_id)
            self._note_trouble("" if answer.seen in {Seen.TOLD, Seen.NOT_FOUND} else answer.seen)
            self._report(taken, answer)
        except LedgerUnavailable as error:
            self._note_trouble("redis", cause=error.cause)
            return IDLE_SECONDS
        return PACE_SECONDS

    def _report(self, poll: Poll, answer: StatusAnswer) -> None:
        """Tell the ledger first: should this process die here, the question is asked again."""
        words = answer.words
        if words is not None:
            report = words.report(
                call_id=poll.call_id, request_id=poll.request_id, source=ReportSource.PLATFORM_API
            )
            self._ledger.run(self._ledger.commands.report_connection(report))
        is_settled = words is not None and words.status.is_final
        hold_seconds = answer.retry_after_seconds or HOLDS_SECONDS.get(answer.seen, 0.0)
        self._ledger.run(
            self._ledger.commands.end_poll(
                poll,
                seen=answer.seen,
                wait_ms=None if is_settled or poll.number >= MAX_POLLS else self._wait_ms(poll.number),
                hold_ms=round(min(hold_seconds, MAX_HOLD_SECONDS) * 1000) if hold_seconds else None,
            )
        )

    def _wait_ms(self, number: int) -> int:
        return round(WAITS_SECONDS[number - 1] * self._random.uniform(0.8, 1.0) * 1000)

    def _note_trouble(self, trouble: str, **fields: object) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            self._log.warning("poller.not_answered", seen=trouble, **fields)
        else:
            self._log.info("poller.works_again")

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            seconds: float | None = 0.0
            while seconds is not None:
                if self._stop.wait(seconds):
                    return
                seconds = self.poll_once()
