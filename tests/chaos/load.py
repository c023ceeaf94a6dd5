"""Sessions that ask for transfers; some ask twice, or otherwise, or never mind. And what they heard.

Two of three publishers live on the event loop, the third is the blocking one, used from threads. What each
session is going to do is drawn from the seed; what it hears is up to the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from chaos.bare_messages import POISON, BareQueue, build_celery_message
from chaos.faults import now_ms
from chaos.history import Ask
from chaos.schedule import PUBLISHERS
from transfer_tasks.errors import (
    IdempotencyConflict,
    LedgerUnavailable,
    OutcomeTimeout,
    PublishOutcomeUnknown,
    PublishUnavailable,
    TransferInProgress,
    TransferNotFound,
)
from transfer_tasks.intent import TransferIntent
from transfer_tasks.publisher import AsyncTransferPublisher, TransferPublisher
from transfer_tasks.settings import PublisherSettings

if TYPE_CHECKING:
    from chaos.cluster import Cluster

# None of them is one of the sandbox's magic numbers.
NUMBERS: Final = ("12025550141", "12025550142", "12025550143", "12025550144")
MAX_BLOCKED_SESSIONS: Final = 96
FIRST_PAUSE_SECONDS: Final = 0.2

QUIRKS: Final = {
    "none": 50,
    "same_object": 8,
    "same_meaning": 8,
    "other_destination": 8,
    "cancel": 14,
    "next_hop": 6,
    "own_key": 4,
    "plain_celery": 5,
    "poison": 1,
}
"""What sessions do beside asking once and waiting, and how often."""


class Line:
    """One publisher, whichever coat it wears."""

    def __init__(self, name: str, url: str, executor: ThreadPoolExecutor) -> None:
        self.name, self._executor = name, executor
        settings = PublisherSettings(redis_url=url)
        blocks = name == PUBLISHERS[-1]
        self.publisher: Any = TransferPublisher(settings) if blocks else AsyncTransferPublisher(settings)
        self._blocks = blocks

    async def call(self, method: Any, *arguments: Any) -> Any:
        """Call a method of the publisher, or of one of its handles."""
        if not self._blocks:
            return await method(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *arguments)

    async def close(self) -> None:
        await self.call(self.publisher.close)


class Load:
    """A steady stream of sessions, on a thread with an event loop of its own.

    Args:
        cluster: Who is asked.
        seed: Where every decision comes from.
        per_second: New sessions a second.
        seconds: How long new ones begin.

    Attributes:
        asks: The log of everything that sessions asked and heard.
        queue: The way to the queue past every publisher.
    """

    def __init__(self, cluster: Cluster, *, seed: int, per_second: float, seconds: float) -> None:
        self.asks: list[Ask] = []
        self._cluster, self._seed = cluster, seed
        self._per_second, self._seconds = per_second, seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self.queue = BareQueue(cluster.redis.url)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_running(self) -> bool:
        """Whether a session still waits for something."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Begin no more sessions."""
        self._ending.set()

    def join(self, deadline_seconds: float) -> None:
        """Wait for the sessions that have begun."""
        self._thread.join(deadline_seconds)
        if self._thread.is_alive():
            raise AssertionError(f"sessions still wait {deadline_seconds:g} s after the load's end")

    async def _run(self) -> None:
        # Not on the loop's own executor, whose few threads would be all taken by waiting sessions.
        executor = ThreadPoolExecutor(MAX_BLOCKED_SESSIONS, thread_name_prefix="session")
        lines = [Line(name, self._cluster.redis_url_of(name), executor) for name in PUBLISHERS]
        loop = asyncio.get_running_loop()
        started, sessions = loop.time(), set()
        for number in itertools.count():
            at = started + number / self._per_second
            if self._ending.is_set() or at - started > self._seconds:
                break
            await asyncio.sleep(at - loop.time())
            chance = random.Random(f"{self._seed}/{number}")
            session = _Session(self, chance, chance.sample(lines, 2))
            task = asyncio.create_task(session.run())
            sessions.add(task)
        await asyncio.gather(*sessions)
        for line in lines:
            await line.close()
        executor.shutdown()
        self.queue.close()


class _Session:
    """What one session does, and what it hears."""

    def __init__(self, load: Load, chance: random.Random, lines: list[Line]) -> None:
        self._load, self._chance = load, chance
        self._line, self._other_line = lines
        self._quirk = chance.choices([*QUIRKS], [*QUIRKS.values()])[0]
        self._to, self._elsewhere = chance.sample(NUMBERS, 2)
        self._call_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self._deadline_seconds = chance.choice((3, 4, 5, 6, 8, 10, 15))
        # Most second thoughts come at once: that is where the races are.
        self._pause_seconds = chance.choice((0.0, 0.001, 0.005, 0.02, 0.1, 1.0, 3.0))

    async def run(self) -> None:
        """Do it all."""
        if self._quirk == "poison":
            await self._push(self._chance.choice(POISON), "poison")
            return
        intent = self._intent(self._to)
        if self._quirk == "plain_celery":
            await self._push(build_celery_message(intent), "celery", intent)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask_and_wait(self._line, intent))
            group.create_task(self._have_second_thoughts(intent))

    def _intent(self, to: str, **fields: Any) -> TransferIntent:
        own_key = {"idempotency_key": f"own-{self._call_id}"} if self._quirk == "own_key" else {}
        return TransferIntent(
            transfer_id=str(uuid.UUID(int=self._chance.getrandbits(128), version=4)),
            call_id=self._call_id,
            destination=f"+{to}",
            expires_in_seconds=self._deadline_seconds,
            reason="chaos",
            **{**own_key, **fields},
        )

    async def _have_second_thoughts(self, intent: TransferIntent) -> None:
        if self._quirk == "next_hop":
            await self._ask_again_after(intent)
            return
        await asyncio.sleep(self._pause_seconds)
        match self._quirk:
            case "same_object":
                await self._ask_and_wait(self._other_line, intent)
            case "same_meaning":
                await self._ask_and_wait(self._other_line, self._intent(self._to))
            case "other_destination" | "own_key":
                await self._ask_and_wait(self._other_line, self._intent(self._elsewhere))
            case "cancel":
                await self._cancel(intent)

    async def _ask_again_after(self, intent: TransferIntent) -> None:
        """Once the first transfer has ended, ask for another destination."""
        await asyncio.sleep(0.2)
        await self._hear(self._other_line, self._other_line.publisher.handle(intent.transfer_id), intent)
        await self._ask_and_wait(self._line, self._intent(self._elsewhere))

    async def _ask_and_wait(self, line: Line, intent: TransferIntent) -> None:
        """Submit, as often as it takes while there is time; then wait for the outcome."""
        while True:
            reply, handle = await self._submit(line, intent)
            if handle is not None:
                await self._hear(line, handle, intent)
            if reply not in {"unavailable", "answer_lost"} or datetime.now(UTC) >= intent.expires_at:
                return
            await asyncio.sleep(FIRST_PAUSE_SECONDS)

    async def _submit(self, line: Line, intent: TransferIntent) -> tuple[str, Any]:
        at_ms, about, handle = now_ms(), "", None
        try:
            handle = await line.call(line.publisher.submit, intent)
            reply = "repeat" if handle.transfer_id != intent.transfer_id else "accepted"
            about = handle.transfer_id
        except TransferInProgress as error:
            reply, about = "in_progress", error.transfer_id
        except IdempotencyConflict as error:
            reply, about = "conflict", error.transfer_id
        except PublishUnavailable:
            reply = "unavailable"
        except PublishOutcomeUnknown:
            reply = "answer_lost"
        self._note(line.name, "submit", intent, at_ms, reply, about)
        return reply, handle

    async def _hear(self, line: Line, handle: Any, intent: TransferIntent) -> None:
        at_ms, about = now_ms(), ""
        try:
            outcome = await line.call(handle.outcome)
            reply, about = outcome.state.value, outcome.reason.value
        except OutcomeTimeout as error:
            reply, about = "timeout", error.state
        except TransferNotFound:
            reply = "not_found"
        self._note(line.name, "outcome", intent, at_ms, reply, about, transfer_id=handle.transfer_id)

    async def _cancel(self, intent: TransferIntent) -> None:
        line = self._other_line
        at_ms, reply = now_ms(), "no_answer"
        handle = line.publisher.handle(intent.transfer_id)
        with contextlib.suppress(LedgerUnavailable):
            try:
                reply = "cancelled" if await line.call(handle.cancel) else "too_late"
            except TransferNotFound:
                reply = "not_found"
        self._note(line.name, "cancel", intent, at_ms, reply)

    async def _push(self, element: str | bytes, action: str, intent: TransferIntent | None = None) -> None:
        at_ms = now_ms()
        reply = await self._load.queue.push(element)
        self._note("queue", action, intent, at_ms, reply)

    def _note(
        self,
        who: str,
        action: str,
        intent: TransferIntent | None,
        at_ms: float,
        reply: str,
        about: str = "",
        *,
        transfer_id: str = "",
    ) -> None:
        asked = (
            {}
            if intent is None
            else {
                "call_id": intent.call_id,
                "to": intent.destination.endpoints[0].number,
                "key": intent.idempotency_key or "",
                "expires_ms": intent.expires_at.timestamp() * 1000,
            }
        )
        self._load.asks.append(
            Ask(
                at_ms=at_ms,
                answered_ms=now_ms(),
                who=who,
                action=action,
                transfer_id=transfer_id or (intent.transfer_id if intent else ""),
                reply=reply,
                about=about,
                **asked,
            )
        )
