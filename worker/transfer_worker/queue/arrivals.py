"""What the order of arrivals says of a message's age: it stands nowhere in a message of plain Celery.

Two things bound it: the list was empty before the message came; or a publisher's message, whose time is on
record, was taken from the same list before. Both are known without asking anybody::

    heartbeat: "empty at E" ─▶ BRPOP goes out ───▶ a publisher's message ─▶ BRPOP ─▶ a plain one
                               E counts from here       its acceptance counts from here

What a heartbeat says after the BRPOP went out does not count for what that brings: the message may have been
taken before the list was seen empty, and have waited in a socket since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transfer_worker.queue.element import Element


class Arrivals:
    """The arrivals of one process. Heartbeats come from another thread, all else from the one that reads."""

    def __init__(self) -> None:
        self._empty_ms = self._empty_before_ms = 0
        self._after = ""

    @property
    def empty_ms(self) -> int:
        """When the list was last seen empty and no message unacknowledged, by Redis's clock; 0 for never."""
        return self._empty_ms

    def note_empty(self, at_ms: int) -> None:
        """Learn when the list was last seen empty, by Redis's clock."""
        self._empty_ms = max(self._empty_ms, at_ms)

    def note_asking(self) -> None:
        """Take down what is known before the next message is asked for."""
        self._empty_before_ms = self._empty_ms

    def note(self, element: Element) -> None:
        """Take down a message; tell a plain one what is known of its age."""
        if element.plain:
            element.plain.after, element.plain.empty_ms = self._after, self._empty_before_ms
        elif not element.is_redelivered:
            self._after = element.task_id
