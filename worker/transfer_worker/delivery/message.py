"""What a message brought: the word that there is something to do, or the request itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from transfer_tasks.errors import InvalidIntent
from transfer_tasks.intent import TransferIntent
from transfer_tasks.intent.model import DEFAULT_EXPIRES_IN_SECONDS, MAX_EXPIRES_IN_SECONDS
from transfer_tasks.ledger.texts import read_object
from transfer_tasks.signature import NOTHING_WRITTEN, Written

MAX_ETA_MS: Final = 5000
"""So long a thread may wait: less than the visibility timeout, after which the message would come again."""

_MAX_EXPIRES_MS: Final = (MAX_EXPIRES_IN_SECONDS + 60) * 1000
"""As for an intent's own `expires_at`, clock difference included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message of our publishers: what is asked is on record, and the message only says so.

    Attributes:
        transfer_id: The transfer to look at.
        copy: The intent as the message has it, or an empty text. Nothing rests on it: it lets the rules be
            asked first, so that the claim begins the attempt, too, where the record says the same.
        is_revoked: Whether somebody has revoked its id by Celery's `revoke`.
    """

    transfer_id: str
    copy: Written = NOTHING_WRITTEN
    is_revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A message of a producer that only has Celery: it brings the intent itself.

    Attributes:
        transfer_id: The task's id, which becomes the transfer's.
        asked: The intent, anything that JSON can say; what is signed is a text.
        signature: The signature of that text; anything that JSON can say.
        expires: Celery's header: after this the task is not to run; anything that JSON can say.
        eta: Celery's header: before this the task is not to run; anything that JSON can say.
        canvas: What Celery is to send to others afterwards.
        is_moved: Whether its place in the queue says nothing of its age, because it was put there anew.
        after: The transfer whose message was taken from the queue right before; an empty text for none.
        empty_ms: When the queue was last known to be empty before it came, by Redis's clock; 0 for never.
        is_revoked: Whether somebody has revoked its id by Celery's `revoke`.
    """

    transfer_id: str
    asked: object
    signature: object = None
    expires: object = None
    eta: object = None
    canvas: tuple[str, ...] = ()
    is_moved: bool = False
    after: str = ""
    empty_ms: int = 0
    is_revoked: bool = False

    def read_intent(self) -> TransferIntent:
        """Return what is asked.

        Raises:
            InvalidIntent: It can't be asked.
        """
        asked = self.asked
        if isinstance(asked, Mapping):
            return TransferIntent.from_elsewhere({**asked, "transfer_id": self.transfer_id})
        intent = TransferIntent.from_elsewhere(asked)
        said = self._fields
        if "transfer_id" not in said and not self.signature:
            return intent.model_copy(update={"transfer_id": self.transfer_id})
        # Else the same text could be sent again, under another id or later.
        if intent.transfer_id != self.transfer_id or "transfer_id" not in said:
            raise _refuse_text("transfer_id", "is not the task's id", "Write task_id into the text as well")
        if self.signature and "expires_at" not in said:
            raise _refuse_text("expires_at", "is missing", "A text that is signed names its deadline")
        return intent

    @property
    def written(self) -> Written:
        """What its producer has signed, if anything: only a text can be signed."""
        is_signed = isinstance(self.asked, str) and isinstance(self.signature, str)
        return Written(str(self.asked), str(self.signature)) if is_signed else NOTHING_WRITTEN

    @property
    def _fields(self) -> Mapping[str, object]:
        """The intent's fields as they were written."""
        asked = read_object(self.asked) if isinstance(self.asked, str) else self.asked
        return asked if isinstance(asked, Mapping) else {}

    def read_call_id(self) -> str:
        """Return the call id of an intent that is otherwise wrong, so that its refusal is found by it."""
        try:
            return TransferIntent(call_id=self._fields.get("call_id"), destination="x").call_id
        except InvalidIntent:
            return ""

    def digest(self) -> str:
        """Return a SHA-256 of what is asked, for what is no valid intent and so has no digest of its own."""
        return hashlib.sha256(json.dumps(self.asked, sort_keys=True).encode()).hexdigest()

    def read_eta_ms(self) -> int | None:
        """Return when it may be carried out, at the earliest.

        Raises:
            InvalidIntent: The header is no point in time.
        """
        return _read_point_in_time("eta", self.eta)

    def read_expires_ms(self) -> int | None:
        """Return until when it may be carried out, as Celery's header says.

        Raises:
            InvalidIntent: The header is no point in time.
        """
        return _read_point_in_time("expires", self.expires)

    @property
    def counts_from_sending(self) -> bool:
        """Whether its deadline is, or may be, counted from when it was sent."""
        asked = self._fields
        return "expires_in_seconds" in asked or (self.expires is None and "expires_at" not in asked)

    def find_deadline_ms(self, intent: TransferIntent, *, now_ms: int, sent_after_ms: int) -> int | None:
        """Return the point in time, by Redis's clock, after which nothing may be sent; None if unknown.

        What is counted in seconds is counted from when the message was sent. That stands nowhere in it, so it
        is counted from the latest moment that is known to lie before.

        Args:
            intent: What is asked.
            now_ms: Redis's time.
            sent_after_ms: When the message was certainly not yet sent; 0 where that is not known.

        Raises:
            InvalidIntent: The deadline is too far ahead.
        """
        asked, deadlines = self._fields, []
        if "expires_at" in asked:
            deadlines.append(round(intent.expires_at.timestamp() * 1000))
            if deadlines[0] > now_ms + _MAX_EXPIRES_MS:
                raise _refuse("expires_at", f"is more than {MAX_EXPIRES_IN_SECONDS} s ahead")
        if (expires_ms := self.read_expires_ms()) is not None:
            if expires_ms > now_ms + _MAX_EXPIRES_MS:
                raise _refuse("expires", f"is more than {MAX_EXPIRES_IN_SECONDS} s ahead")
            deadlines.append(expires_ms)
        if sent_after_ms and self.counts_from_sending:
            seconds: Any = asked.get("expires_in_seconds", DEFAULT_EXPIRES_IN_SECONDS)
            deadlines.append(sent_after_ms + round(seconds * 1000))
        return min(deadlines, default=None)


def _read_point_in_time(field: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            raise _refuse(field, "is not a point in time with its time zone")
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidIntent):
            raise
        raise _refuse(field, "is not a point in time with its time zone") from None


def _refuse(field: str, problem: str) -> InvalidIntent:
    return InvalidIntent(
        field=f"Celery's {field}",
        value="a header",
        problem=problem,
        fix="Give apply_async a number of seconds, or an aware datetime",
    )


def _refuse_text(field: str, problem: str, fix: str) -> InvalidIntent:
    return InvalidIntent(field=field, value="a text", problem=problem, fix=fix)
