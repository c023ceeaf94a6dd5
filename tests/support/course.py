"""What a caller hears second by second, for every way in which a transfer can go: see docs/voice.md."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.calling import OK, Caller, now, session_of
from transfer_tasks.connection import ConnectionReason, ConnectionStatus
from transfer_tasks.outcome import Reason
from transfer_tasks.testing import ending

if TYPE_CHECKING:
    from transfer_tasks.testing import ScriptedEnding

SENTENCE_SECONDS = 3.0
NOTICE_SECONDS = 0.35
"""How long after the last sound piopiy-ai 0.6.1 reports that its voice has stopped."""

RINGS_SECONDS = 12.0
SLOW_ANSWER_SECONDS = 6.0
LISTENING_SECONDS = 30.0


@dataclass(frozen=True)
class Scenario:
    """One way in which a transfer can go, and what a row of the table calls it."""

    name: str
    script: ScriptedEnding


def list_scenarios() -> list[Scenario]:
    """Return them in the order of the table."""
    reported: list[ConnectionStatus | ConnectionReason] = [ConnectionStatus.CONNECTED, *ConnectionReason]
    after = [Scenario(f"{said}, 12 s after the request", _reported(said)) for said in reported]
    before = [
        Scenario(f"{said}, before the platform's answer comes, at 6 s", _reported(said, is_early=True))
        for said in reported
    ]
    return [
        Scenario("accepted, and nobody reports more", ending(OK)),
        *after,
        *before,
        Scenario("refused", ending(Reason.REFUSED_BY_PLATFORM)),
        Scenario("failed, after 14 s", ending(Reason.RATE_LIMITED, after_seconds=14)),
        Scenario("expired, after 15 s", ending(Reason.DEADLINE_PASSED, after_seconds=15)),
        Scenario(
            "withdrawn by an engineer, after 2 s", ending(Reason.CANCELLED_BY_OPERATOR, after_seconds=2)
        ),
        Scenario(
            "the answer is lost, after 10 s; it was not carried out",
            ending(Reason.ANSWER_LOST, after_seconds=10),
        ),
    ]


def _reported(said: ConnectionStatus | ConnectionReason, *, is_early: bool = False) -> ScriptedEnding:
    if is_early:
        return ending(OK, after_seconds=SLOW_ANSWER_SECONDS, connection=said, rings_seconds=1)
    return ending(OK, connection=said, rings_seconds=RINGS_SECONDS)


class Listener(Caller):
    """A caller in a framework that reports all speech, and whose sentences take three seconds."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self._session = session
        self._silent_at = 0.0

    async def say(self, text: str) -> object:
        await super().say(text)
        return self._listen()

    async def _listen(self) -> None:
        self._session.note_speech()
        self._silent_at = max(now(), self._silent_at) + SENTENCE_SECONDS  # one after the other
        await asyncio.sleep(self._silent_at - now())
        asyncio.get_running_loop().call_later(NOTICE_SECONDS, self._session.note_speech)


async def hear(
    scenario: Scenario, *, listening_seconds: float = LISTENING_SECONDS
) -> list[tuple[float, str]]:
    """Live through one of them; return what the caller hears, and when, until they are gone."""
    async with session_of(scenario.script, announce="before") as (session, publisher):
        caller, began_at = Listener(session), now()
        await session.transfer("support", say=caller.say)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(listening_seconds):
                while not _is_gone(publisher):  # noqa: ASYNC110 - on fake time
                    await asyncio.sleep(0.5)
        await session.end(is_evidence=False)
        return [(at - began_at, text) for at, text in caller.heard]


def _is_gone(publisher: Any) -> bool:
    said = [handle.connection_now for handle in publisher.handles]
    return any(each and (each.status is ConnectionStatus.CONNECTED or each.caller_gone) for each in said)


def as_table(courses: dict[str, list[tuple[float, str]]]) -> str:
    """Return the table of docs/voice.md."""
    rows = [
        f"| {name} | {' · '.join(f'{at:.0f} s “{text}”' for at, text in heard)} |"
        for name, heard in courses.items()
    ]
    return "\n".join(
        ["| How it goes | What the caller hears, from the model's tool call on |", "|---|---|", *rows]
    )
