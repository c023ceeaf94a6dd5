"""What stands in Redis and can't be read: noted by its key, so that the rest is shown and somebody looks."""

from __future__ import annotations

from typing import Any, TypeVar

import redis

from transfer_tasks.ledger.record import is_of_another_type
from transfer_tasks.ledger.texts import read_number, read_object

T = TypeVar("T")


class Damage:
    """Reads what may be anything, and notes the keys of what is not as we write it."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that hold something else."""
        return tuple(self._keys)

    def note(self, key: str) -> None:
        """Say that a key holds something else."""
        self._keys[key] = None

    def reply(self, key: str, reply: object, otherwise: T) -> T:
        """Return Redis's reply about a key; `otherwise` where it holds another type.

        Raises:
            redis.RedisError: Redis said something else.
        """
        if not isinstance(reply, redis.RedisError):
            return reply  # type: ignore[return-value]  # what the command at hand returns
        if not is_of_another_type(reply):
            raise reply
        self.note(key)
        return otherwise

    def json_object(self, key: str, text: str) -> dict[str, Any]:
        """Return the JSON object that a text is; an empty one where it is not."""
        found = read_object(text)
        if found is None:
            self.note(key)
        return found or {}


def read_count(text: str) -> int | None:
    """Return the number that a counter holds, which may be below zero; None where it holds something else."""
    number = read_number(text.removeprefix("-"))
    return number if number is None or not text.startswith("-") else -number
