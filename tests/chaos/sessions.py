"""What one session asks for; some ask twice, or otherwise, or never mind. And what they heard.

What a session is going to do is drawn from the seed; what it hears is up to the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from chaos.faults import now_ms
from chaos.history import Ask
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
from transfer_tasks.publisher import TransferPublisher

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor

# None of them is one of the sandbox's magic numbers.
NUMBERS: Final = ("12025550141", "12025550142", "12025550143", "12025550144")
FIRST_PAUSE_SECONDS: Final = 0.2

QUIRKS: Final = {
    "none": 50,
    "same_object": 8,
    "same_meaning": 8,
    "other_destination": 8,
    "cancel": 14,
    "next_hop": 6,
    "own_key": 4,
}
"""What sessions do beside asking once and waiting, and how often."""


class Line:
    """One publisher, whichever coat it wears.

    Args:
        name: What the log calls it.
        publisher: The one on the event loop, or the blocking one.
        executor: Runs the blocking one's calls.
    """

    def __init__(self, name: str, publisher: Any, executor: ThreadPoolExecutor) -> None:
        self.name, self.publisher, self._executor = name, publisher, executor
        self._blocks = isinstance(publisher, TransferPublisher)

    def with_executor(self, executor: ThreadPoolExecutor) -> Line:
        """Return the same publisher, run by another executor."""
        return Line(self.name, self.publisher, executor)

    async def call(self, method: Any, *arguments: Any) -> Any:
        """Call a method of the publisher, or of one of its handles."""
        if not self._blocks:
            return await method(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *arguments)


class Session:
    """What one session does, and what it hears.

    Args:
        chance: Where every decision comes from.
        lines: The two publishers that it asks by.
        note: Gets whatever it asked and heard.
    """

    def __init__(self, chance: random.Random, lines: Sequence[Line], note: Callable[[Ask], object]) -> None:
        self._chance, self._note_ask = chance, note
        self._line, self._other_line = lines
        self._quirk = chance.choices([*QUIRKS], [*QUIRKS.values()])[0]
        self._to, self._elsewhere = chance.sample(NUMBERS, 2)
        self._call_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self._deadline_seconds = chance.choice((3, 4, 5, 6, 8, 10, 15))
        # Most second thoughts come at once: that is where the races are.
        self._pause_seconds = chance.choice((0.0, 0.001, 0.005, 0.02, 0.1, 1.0, 3.0))

    async def run(self) -> None:
        """Do it all."""
        intent = self._intent(self._to)
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

    def _note(
        self,
        who: str,
        action: str,
        intent: TransferIntent,
        at_ms: float,
        reply: str,
        about: str = "",
        *,
        transfer_id: str = "",
    ) -> None:
        self._note_ask(
            Ask(
                at_ms=at_ms,
                answered_ms=now_ms(),
                who=who,
                action=action,
                transfer_id=transfer_id or intent.transfer_id,
                reply=reply,
                about=about,
                call_id=intent.call_id,
                to=intent.destination.endpoints[0].number,
                key=intent.idempotency_key or "",
                expires_ms=intent.expires_at.timestamp() * 1000,
            )
        )
