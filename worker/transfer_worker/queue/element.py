"""A message as it came off the list, and as Celery is to see it: only what we have looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from transfer_tasks.publisher.message import INTENT_HEADER, SIGNATURE_HEADER

FACTS_HEADER: Final = "plain"
"""Under this name the task finds the `PlainFacts` of its message. It never comes from outside."""


@dataclass(slots=True, kw_only=True)
class PlainFacts:
    """What a message of a producer that only has Celery says besides its intent, unjudged.

    Attributes:
        arguments: The task's positional arguments.
        named: The task's named arguments.
        expires: The header; anything that JSON can say.
        eta: The header; anything that JSON can say.
        canvas: What it asks to be sent to others afterwards, by Celery's names.
        is_moved: Whether it is somewhere else in the list than where its producer put it: redelivered, or
            from a list of a priority.
        after: The transfer whose message was taken from the list right before; an empty text where none was.
        empty_ms: When the list was last known to be empty before this message came, by Redis's clock; or 0.
    """

    arguments: list[Any]
    named: dict[str, Any]
    expires: object = None
    eta: object = None
    canvas: tuple[str, ...] = ()
    is_moved: bool = False
    after: str = ""
    empty_ms: int = 0


class Element(dict[str, Any]):
    """A message as it stood in the queue, read.

    Attributes:
        text: Its text, so that nobody writes it anew.
        queue: The list that it was taken from.
        task: The name of the task that is asked for.
        task_id: Its id in the canonical spelling.
        plain: None for the message of one of our publishers.
    """

    def __init__(
        self,
        message: dict[str, Any],
        *,
        text: str,
        queue: str,
        task: str,
        task_id: str,
        plain: PlainFacts | None,
    ) -> None:
        super().__init__(message)
        self.text, self.queue, self.task_id, self.plain = text, queue, task_id, plain
        self.task = task

    @property
    def is_redelivered(self) -> bool:
        """Whether kombu has put it back once."""
        marks = self["headers"], self["properties"]["delivery_info"]
        return any(part.get("redelivered") for part in marks)

    def as_seen_by_celery(self) -> dict[str, Any]:
        """Return the message with everything that Celery acts on, and we did not ask for, set to nothing.

        By its own headers, Celery 5.7.0 would drop a message that has expired without a word, hold one with
        an ETA in memory, log the whole body where either can't be read, and publish to queues of others.
        """
        headers, tag = self["headers"], self["properties"]["delivery_tag"]
        shown, origin = headers.get("kwargsrepr"), headers.get("origin")
        return {
            "body": None,
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {
                "lang": "py",
                "task": self.task,
                "id": self.task_id,
                "root_id": self.task_id,
                "parent_id": None,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "argsrepr": "()",
                "kwargsrepr": shown if isinstance(shown, str) and not self.plain else "",
                "origin": origin if isinstance(origin, str) else "",
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
                INTENT_HEADER: headers.get(INTENT_HEADER),
                SIGNATURE_HEADER: headers.get(SIGNATURE_HEADER),
                FACTS_HEADER: self.plain,
            },
            "properties": {
                "correlation_id": self.task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": self.queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": tag,
            },
        }
