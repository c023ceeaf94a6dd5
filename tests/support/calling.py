"""A session on fake time, and the caller who hears it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

import asyncio
import contextlib
import uuid
from functools import wraps

from transfer_tasks.outcome import Reason
from transfer_tasks.testing import RecordingPublisher
from transfer_tasks.testing.clock import run_on_fake_time
from transfer_tasks.voice import Choice, TransferClient, TransferSession, VoiceSettings, Wording

RING_SECONDS = 20


SUPPORT = [
    {
        "action": "connect",
        "endpoints": [{"type": "pstn", "number": "+12025550141"}],
        "params": {"options": {"ring_timeout_sec": RING_SECONDS}},
    }
]


CHOICES = [
    Choice(name="support", description="Faults and questions", to=SUPPORT),
    Choice(name="billing", description="Invoices", to="+12025550142"),
    Choice(name="sales", description="Offers"),
]


OK = Reason.ACCEPTED_BY_PLATFORM


def on_fake_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_on_fake_time(test(*args, **kwargs))

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


class Caller:
    """Hears what the session says, and when."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, str]] = []

    async def say(self, text: str) -> object:
        self.heard.append((round(now(), 3), text))
        return None

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.heard]


@contextlib.asynccontextmanager
async def client_of(
    *script: Any,
    wording: Wording | None = None,
    publisher: RecordingPublisher | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[TransferClient, RecordingPublisher]]:
    """Open a client whose requests end by a script; it asks at once unless `announce` says otherwise."""
    publisher = publisher or RecordingPublisher(*script)
    client = TransferClient(
        publisher,
        choices=CHOICES,
        settings=VoiceSettings(_env_file=None, **{"announce": "after", **settings}),
        wording=wording,
    )
    async with client:
        yield client, publisher


def new_call_id() -> str:
    return str(uuid.uuid4())


@contextlib.asynccontextmanager
async def session_of(
    *script: Any, **options: Any
) -> AsyncIterator[tuple[TransferSession, RecordingPublisher]]:
    """Open one call's session; options as for `client_of`."""
    async with client_of(*script, **options) as (client, publisher), client.session(new_call_id()) as session:
        yield session, publisher
