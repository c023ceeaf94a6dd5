"""In a flood: what can only be refused is refused where it stands in the queue, many in one round trip.

Taken one by one, 1,500 refusals hold up whoever stands behind them for seconds::

    queue   good │ bad  bad  bad … bad │ bad ─▶ taken and refused: the flood is noticed
                 └─ read in place, refused, removed ─┘
            good ─▶ taken next

What is removed has its outcome on record before. A death between the two has it refused
once more, which changes nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

import redis

from transfer_worker.queue.poison import Poison, read_element

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transfer_worker.queue.element import Element

BATCH: Final = 50
LOOK_SECONDS: Final = 0.25
"""So long at most, before the next message is taken: the same thread answers what else comes from Redis."""


class LookAhead:
    """Refuses in a flood, first what was taken from the queue, then what stands behind it.

    Args:
        client: Any connection to the Redis with the queue.
        refuse: Called with messages; says of each whether it has ended with that.
    """

    def __init__(self, client: redis.Redis, refuse: Callable[[Sequence[Element]], list[bool]]) -> None:
        self._client, self._refuse = client, refuse

    def turn_away(self, element: Element) -> bool:
        """Say whether a message has ended already, and nobody need carry it out."""
        if not self._refuse([element])[0]:
            return False
        until = time.monotonic() + LOOK_SECONDS
        try:
            while self._refuse_next(element.queue) and time.monotonic() < until:
                pass
        except redis.RedisError:
            return True  # whoever takes the next message meets the same, and connects anew
        return True

    def _refuse_next(self, queue: str) -> bool:
        """Refuse what is next in the queue; say whether it was all refused, so that there may be more."""
        # Bytes, as they stand there: they may be no text at all.
        standing = cast(
            "list[bytes]",
            self._client.execute_command("LRANGE", queue, -BATCH, -1, NEVER_DECODE=True),  # type: ignore[no-untyped-call]
        )
        readable: list[tuple[bytes, Element]] = []
        for text in standing:
            try:
                readable.append((text, read_element(text, queue=queue)))
            except Poison:  # it is set aside when its turn comes
                continue
        ended = self._refuse([element for _, element in readable])
        gone = [text for (text, _), has_ended in zip(readable, ended, strict=True) if has_ended]
        with self._client.pipeline(transaction=False) as pipeline:
            for text in gone:
                pipeline.lrem(queue, -1, cast("str", text))
            pipeline.execute()
        return len(gone) == len(standing) > 0
