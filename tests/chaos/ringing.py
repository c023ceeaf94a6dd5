"""A platform on which the agent stays with its caller while the target rings.

The sandbox carries a request out at once and says nothing more of it. Here, each request that it carried
out rings for a while; then somebody answers, and the agent's leg ends; or nobody does, and nothing changes.
All of it is drawn from the request, so that the sessions and the auditor see the same.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaos.faults import now_ms
from chaos.history import Post

if TYPE_CHECKING:
    from pathlib import Path

RING_TIMEOUT_SECONDS: Final = 5
"""The shortest that the contract allows."""

ANSWERED: Final = 0.6
LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ring:
    """What one request became."""

    begun_ms: float
    ended_ms: float
    is_answered: bool

    def stands_at(self, at_ms: float) -> bool:
        """Whether the target rings then, or has the caller."""
        return self.begun_ms <= at_ms and (self.is_answered or at_ms < self.ended_ms)


def ring_of(post: Post) -> Ring | None:
    """Return how a request rings; None for one that was not carried out."""
    if not post.carried_out:
        return None
    chance = random.Random(f"{post.key}/{post.at_ms}")
    is_answered = chance.random() < ANSWERED
    # Nobody answers: busy at once, or it rings to the end.
    seconds = chance.uniform(0.2, RING_TIMEOUT_SECONDS) if is_answered else chance.choice((0.3, 5.0))
    return Ring(post.at_ms, post.at_ms + seconds * 1000, is_answered)


class Platform:
    """Tells the agents of the calls that they hold when their legs end. For one event loop."""

    def __init__(self, record_path: Path) -> None:
        self._record_path = record_path
        self._has_left: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def wait_until_moved(self, call_id: str) -> None:
        """Return when somebody else has the caller."""
        await self._has_left[call_id].wait()

    async def follow(self) -> None:
        """Read what the sandbox writes down, until cancelled."""
        loop = asyncio.get_running_loop()
        with self._record_path.open("rb") as record:
            rest = b""
            while True:
                *lines, rest = (rest + record.read()).split(b"\n")
                for line in lines:
                    post = Post.from_entry(json.loads(line))
                    ring = ring_of(post)
                    if ring is not None and ring.is_answered and post.call_id in self._has_left:
                        left_seconds = max(0.0, (ring.ended_ms - now_ms()) / 1000)
                        loop.call_later(left_seconds, self._has_left[post.call_id].set)
                await asyncio.sleep(LOOK_SECONDS)
