"""Voice sessions in the middle of it: `TransferClient`, as an agent uses it, on a platform that lets it ring.

A session asks, is told, asks again where it may (and sometimes where it may not, as models do), and ends when
the platform takes its caller away. What its caller heard is judged afterwards.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import uuid
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from chaos.faults import now_ms
from chaos.history import Heard
from chaos.ringing import LOOK_SECONDS, RING_TIMEOUT_SECONDS, Platform
from chaos.schedule import PUBLISHERS
from chaos.sessions import NUMBERS
from transfer_tasks.outcome import GUIDE, Reason, State
from transfer_tasks.voice import Choice, SessionReason, TransferClient, VoiceSettings

if TYPE_CHECKING:
    from chaos.cluster import Cluster
    from transfer_tasks.voice import TransferAnswer, TransferSession

GRACE_SECONDS: Final = 1.0
REPEAT_WINDOW_SECONDS: Final = 1
"""Shorter than it rings: the window is not what keeps a session from asking again."""

ASKS: Final = 5
PATIENCE_ASKS: Final = 8
"""How often a session asks while its outcome is unknown: until evidence is due, and some time longer."""

NOTICE_SECONDS: Final = 3.0
"""How long after the last session's end its report may take."""


class VoiceLoad:
    """A steady stream of voice sessions, on a thread with an event loop of its own.

    Args:
        cluster: Who is asked.
        seed: Where every decision comes from.
        per_second: New sessions a second; none at 0.
        seconds: How long new ones begin.

    Attributes:
        heard: What callers and models were told, in any order.
        call_ids: The calls of these sessions.
    """

    def __init__(self, cluster: Cluster, *, seed: int, per_second: float, seconds: float) -> None:
        self.heard: list[Heard] = []
        self.call_ids: set[str] = set()
        self._cluster, self._seed = cluster, seed
        self._per_second, self._seconds = per_second, seconds
        self._ending, self._is_abandoned = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run_thread, name="voice-load", daemon=True)
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more sessions."""
        self._ending.set()

    def abandon(self) -> None:
        """End all sessions where they stand: nobody wants to know any more."""
        self._is_abandoned.set()

    def join(self, deadline_seconds: float) -> None:
        """Wait for the sessions that have begun."""
        self._thread.join(deadline_seconds)
        if self._thread.is_alive():
            raise AssertionError(f"voice sessions still wait {deadline_seconds:g} s after the load's end")
        if self._error is not None:
            raise self._error

    def _run_thread(self) -> None:
        if not self._per_second:
            return
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - raised again by `join`, where somebody sees it
            self._error = error

    async def _run(self) -> None:
        platform = Platform(self._cluster.record_path)
        following = asyncio.create_task(platform.follow())
        settings = VoiceSettings(
            _env_file=None,
            redis_url=SecretStr(self._cluster.redis_url_of(PUBLISHERS[0])),
            session_evidence_grace_seconds=GRACE_SECONDS,
            expires_in_seconds=6,
            announce="after",  # every sentence is a claim then, and judged
            repeat_window_seconds=REPEAT_WINDOW_SECONDS,
        )
        async with TransferClient(choices=map(_choice, NUMBERS), settings=settings) as client:
            loop = asyncio.get_running_loop()
            started = loop.time()
            sessions: set[asyncio.Task[None]] = set()
            for number in itertools.count():
                at = started + number / self._per_second
                if self._ending.is_set() or at - started > self._seconds:
                    break
                await asyncio.sleep(at - loop.time())
                sessions.add(asyncio.create_task(self._live(client, platform, number)))
                sessions = {session for session in sessions if not _has_ended(session)}
            while sessions and not self._is_abandoned.is_set():
                await asyncio.wait(sessions, timeout=LOOK_SECONDS)
                sessions = {session for session in sessions if not _has_ended(session)}
            for session in sessions:
                session.cancel()
            await asyncio.gather(*sessions, return_exceptions=True)
            await asyncio.sleep(0.0 if self._is_abandoned.is_set() else NOTICE_SECONDS)
        following.cancel()

    async def _live(self, client: TransferClient, platform: Platform, number: int) -> None:
        """Hold one call until the agent has done what it can, or the platform takes the caller away."""
        chance = random.Random(f"{self._seed}/voice/{number}")
        call_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self.call_ids.add(call_id)
        agent = asyncio.create_task(self._talk(client.session(call_id), call_id, chance))
        leaving = asyncio.create_task(platform.wait_until_moved(call_id))
        try:
            await asyncio.wait({agent, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            agent.cancel()
            await asyncio.gather(agent, leaving, return_exceptions=True)
        if not agent.cancelled() and (error := agent.exception()):
            raise error

    async def _talk(self, session: TransferSession, call_id: str, chance: random.Random) -> None:
        async def say(text: str) -> None:
            self.heard.append(Heard(now_ms(), call_id, "caller", _word_of_sentence(text), text))

        async def ask(to: str) -> TransferAnswer:
            answer = await session.transfer(to, say=say)
            word = _word_of_state(answer)
            self.heard.append(Heard(now_ms(), call_id, "model", word, answer.reason.value))
            return answer

        wanted, elsewhere = chance.sample(NUMBERS, 2)
        async with session:
            for _ in range(ASKS):
                answer = await ask(wanted)
                for _ in range(PATIENCE_ASKS):
                    if answer.state is not State.UNKNOWN or answer.phrase.may_retry:
                        break
                    await asyncio.sleep(chance.uniform(0.5, 2.0))
                    await ask(elsewhere) if chance.random() < 0.3 else None
                    answer = await ask(wanted)
                if answer.reason is Reason.CALL_NOT_FOUND:
                    break
                # Nobody has the caller yet: some models ask again, others for somebody else.
                await asyncio.sleep(chance.uniform(0.2, RING_TIMEOUT_SECONDS + 2))
                wanted, elsewhere = chance.sample((wanted, elsewhere), 2)
            # The agent hangs up while nobody has the caller: that is not evidence of anything.
            await session.end(is_evidence=False)


def _has_ended(session: asyncio.Task[None]) -> bool:
    """Whether a session is over; raise what broke it."""
    if session.done():
        session.result()
    return session.done()


def _choice(number: str) -> Choice:
    connect = {
        "action": "connect",
        "endpoints": [{"type": "pstn", "number": number}],
        "params": {"options": {"ring_timeout_sec": RING_TIMEOUT_SECONDS}},
    }
    return Choice(name=number, description="somebody", to=[connect])


def _word_of_sentence(text: str) -> str:
    if text == GUIDE[Reason.ACCEPTED_BY_PLATFORM].say:
        return "moving"
    return "not_moved" if "I couldn't" in text or "I can't transfer" in text else "open"


def _word_of_state(answer: TransferAnswer) -> str:
    """Return what an answer says of the call; of another transfer of it that is on its way, nothing."""
    if answer.state is State.SUBMITTED:
        return "moving"
    open_ones = {Reason.TRANSFER_IN_PROGRESS, SessionReason.SESSION_ENDED}
    return "open" if answer.state is State.UNKNOWN or answer.reason in open_ones else "not_moved"
