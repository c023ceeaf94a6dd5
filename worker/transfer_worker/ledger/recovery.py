"""Heartbeats, and taking over from a worker that died: seconds, while the caller is still on the line.

::

    heartbeat . heartbeat . heartbeat  X  (kill -9)
     |-------|-------|----------- lease -----------|
                                  sweep . sweep . sweep: the lease is over -> requeue -> POST by the successor

The thread does nothing but talk to Redis, so heartbeats go on while the consumer reconnects.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_worker.audit.outbox import GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from transfer_tasks.ledger.ledger import Ledger
    from transfer_tasks.ledger.script import Command
    from transfer_tasks.ledger.verdicts import Heartbeat, Recovered
    from transfer_tasks.redis.clock import RedisClock

HEARTBEAT_SECONDS = 0.5
LEASE_SECONDS = 2.0
"""Four heartbeats. Longer than any pause of a healthy process, short against a caller's patience."""

GRACE_SECONDS = 1.25
"""Two heartbeats and a little: what the living get to show it when Redis, or everybody, has been away."""

SWEEP_LIMIT = 500

AUDIT_KEPT_LINES = 100_000
"""For `call-transfer tail`: four lines a transfer. In Redis a line takes about 200 bytes."""

AUDIT_BOUND_LINES = 300_000
"""What is more is dropped, though nobody has written it: a full Redis would take no request."""


class Log(Protocol):
    """Where the few lines of recovery go."""

    def info(self, event: str, **fields: object) -> object:
        """Write one line."""

    def warning(self, event: str, **fields: object) -> object:
        """Write one line."""


class Recovery:
    """Sends heartbeats and sweeps for one worker process.

    Args:
        ledger: The ledger, with a client whose timeout is shorter than the lease.
        worker: The worker's id.
        describe: Returns what a heartbeat says about this process, as JSON.
        queue: The Celery queue.
        notification: A message for it (`transfer_tasks.publisher.message.write_notification`).
        limits: The registry's limits on rate. They are put in force at the start, and when there are none.
        attempt_bound_seconds: The longest an attempt may take, its settling included.
        log: Where the lines go.
        clock: Learns Redis's time from each heartbeat.
        on_empty: Called with the time, by Redis's clock in milliseconds, at which the queue was last empty.
        on_polls: Called when there are requests that the platform is to be asked about.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        worker: str,
        describe: Callable[[], str],
        queue: str,
        notification: str,
        limits: Mapping[str, str],
        attempt_bound_seconds: float,
        log: Log,
        clock: RedisClock,
        on_empty: Callable[[int], None] = lambda _: None,
        on_polls: Callable[[], None] = lambda: None,
    ) -> None:
        commands = ledger.commands
        self._ledger, self._log, self._clock, self._on_empty = ledger, log, clock, on_empty
        self._on_polls = on_polls
        self._retire = commands.retire(worker=worker)
        self._make_heartbeat: Callable[[], Command[Heartbeat]] = lambda: commands.heartbeat(
            worker=worker, lease_ms=round(LEASE_SECONDS * 1000), about_json=describe(), queue=queue
        )
        self._sweep: Command[Recovered] = commands.recover(
            interval_ms=round(HEARTBEAT_SECONDS * 1000) - 50,
            lease_ms=round(LEASE_SECONDS * 1000),
            queue=queue,
            attempt_bound_ms=round(attempt_bound_seconds * 1000),
            limit=SWEEP_LIMIT,
            grace_ms=round(GRACE_SECONDS * 1000),
            audit_group=GROUP,
            audit_kept=AUDIT_KEPT_LINES,
            audit_bound=AUDIT_BOUND_LINES,
            notification=notification,
        )
        self._set_limits = commands.set_limits(limits, worker=worker)
        self._are_limits_set = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self._trouble = ""
        self._heartbeat_at = float("-inf")

    def start(self) -> None:
        """Send a heartbeat, then go on with heartbeats and sweeps."""
        self.heartbeat_and_sweep()
        self._thread.start()

    def stop(self) -> None:
        """End, and say so in the ledger, so that nobody has to wait for the end of our lease."""
        self._stop.set()
        self._thread.join(timeout=LEASE_SECONDS)
        try:
            self._ledger.run(self._retire)
        except LedgerUnavailable as error:
            self._log.warning("worker.retire_failed", cause=error.cause)

    def keep_lease(self) -> None:
        """Send a heartbeat now if the last one is old: whoever acts must not be taken for dead.

        So it can be after a start whose first heartbeat was lost, and when the line to Redis is back.

        Raises:
            LedgerUnavailable: Redis did not answer in time.
        """
        if time.monotonic() - self._heartbeat_at > LEASE_SECONDS / 2:
            self._send_heartbeat()

    def heartbeat_and_sweep(self) -> None:
        """Do it once. What keeps us from it is told once, not every half second."""
        try:
            done: Recovered = next(self._send_heartbeat(self._sweep))
        except LedgerUnavailable as error:
            # One that answers with an error is there: a damaged key, a missing permission, a full memory.
            is_there = isinstance(error.__cause__, redis.ResponseError)
            trouble = "recovery.failed" if is_there else "redis.away"
            if trouble != self._trouble:
                self._log.warning(trouble, cause=error.cause)
            self._trouble = trouble
            return
        if self._trouble:
            self._log.info("recovery.works_again" if self._trouble == "recovery.failed" else "redis.back")
            self._trouble = ""
        self._tell(done)

    def _tell(self, done: Recovered) -> None:
        if done.lost_lines:
            self._log.warning("audit.lines_lost", lines=done.lost_lines)
        if done.requeued or done.given_up or done.expired or done.gone_workers:
            self._log.info(
                "recovery.swept",
                requeued=done.requeued,
                given_up=done.given_up,
                expired=done.expired,
                gone_workers=done.gone_workers,
            )

    def _send_heartbeat(self, *behind: Command[Any]) -> Iterator[Any]:
        """Send one, and in the same round trip what is to run behind it; yield what comes of that."""
        asked_at = time.monotonic()
        told = self._ledger.run_each([self._make_heartbeat(), *behind])
        self._note(next(told), asked_at=asked_at)
        return told

    def _note(self, heard: Heartbeat, *, asked_at: float) -> None:
        self._heartbeat_at = asked_at
        self._clock.note(heard.now_ms, asked_at=asked_at, answered_at=time.monotonic())
        self._on_empty(heard.empty_ms)
        if heard.has_polls:
            self._on_polls()
        if not (self._are_limits_set and heard.has_limits):
            self._ledger.run(self._set_limits)
            self._are_limits_set = True

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self.heartbeat_and_sweep()
