"""What a message brought: the word that there is something to do, or the request itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import TransferIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message of our publishers: what is asked is on record, and the message only says so.

    Attributes:
        transfer_id: The transfer to look at.
        copy: The intent as the message has it, as JSON, or an empty text. Nothing rests on it: it lets the
            rules be asked first, so that the claim begins the attempt, too, where the record says the same.
    """

    transfer_id: str
    copy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A message of a producer that only has Celery: it brings the intent itself.

    Attributes:
        transfer_id: The task's id, which becomes the transfer's.
        asked: The intent, anything that JSON can say.
    """

    transfer_id: str
    asked: object

    def read_intent(self) -> TransferIntent:
        """Return what is asked.

        Raises:
            InvalidIntent: It can't be asked.
        """
        asked = self.asked
        return TransferIntent.from_dict(
            {**asked, "transfer_id": self.transfer_id} if isinstance(asked, Mapping) else asked
        )

    def read_call_id(self) -> str:
        """Return the call id of an intent that is otherwise wrong, so that its refusal is found by it."""
        try:
            call_id = self.asked.get("call_id") if isinstance(self.asked, Mapping) else None
            return TransferIntent(call_id=call_id, destination="x").call_id
        except InvalidIntent:
            return ""
