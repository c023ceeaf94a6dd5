"""What belongs to one event loop of one process: connections, tasks and locks are of no use in another.

A forked child inherits its parent's connections and event loops. It must neither use nor collect them: both
processes share the sockets, and the epoll set of each loop, so what the child closes is deaf in the parent.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


class Owner(Protocol):
    """Has what a forked child must leave alone."""

    def leave_to_parent(self) -> None:
        """Keep it and forget it, with `keep_for_ever`: this is the child."""


_OWNERS: Final[weakref.WeakSet[Owner]] = weakref.WeakSet()
_INHERITED: Final[list[object]] = []


def leave_to_parent_on_fork(owner: Owner) -> None:
    """Have an owner told in each forked child, before anything else runs there."""
    _OWNERS.add(owner)


def keep_for_ever(thing: object) -> None:
    """Keep what was inherited from being collected."""
    _INHERITED.append(thing)


def _after_fork_in_child() -> None:
    for owner in list(_OWNERS):
        owner.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)


T = TypeVar("T")


class LoopLocal(Generic[T]):
    """Gives each event loop of each process its own `T`, made when it first asks.

    Args:
        make: Makes one; called while the loop runs.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._of_loop: dict[asyncio.AbstractEventLoop, T] = {}
        leave_to_parent_on_fork(self)

    def get(self) -> T:
        """Return the one of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._of_loop.get(loop)
        if found is None:
            # Those of closed loops go: who runs a new loop for each request must not gather connections.
            self._of_loop = {each: its for each, its in self._of_loop.items() if not each.is_closed()}
            found = self._of_loop[loop] = self._make()
        return found

    def pop(self) -> T | None:
        """Return the one of the running loop, if it has been made, and forget it."""
        return self._of_loop.pop(asyncio.get_running_loop(), None)

    def leave_to_parent(self) -> None:
        """Begin anew: this is a forked child."""
        keep_for_ever(self._of_loop)
        self._of_loop = {}
