"""What one webhook says, in types: the vendor's pages "Live Events" and "CDR", and how their types drift.

Numbers come as numbers or as text, times in seconds or milliseconds, names with and without a prefix. No page
promises an order, a signature, or that these are all statuses; so what is not known here says nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from transfer_tasks.connection import ConnectionStatus, read_call_id
from transfer_tasks.ledger.texts import read_object

_TOKEN: Final = re.compile(r"[A-Za-z0-9_.:=+/-]{1,128}")
_NUMBER: Final = re.compile(r"\+?[0-9]{3,18}(\.0+)?")
_EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM: Final = 10**11
"""A larger number counts milliseconds: in seconds it would be the year 5138."""

_OF_EVENT: Final = {
    "started": ConnectionStatus.RINGING,
    "answered": ConnectionStatus.RINGING,  # this leg alone; that both are connected is `bridged`
    "bridged": ConnectionStatus.CONNECTED,
    "missed": ConnectionStatus.NOT_CONNECTED,
}
_OF_CDR: Final = {"answered": ConnectionStatus.CONNECTED, "missed": ConnectionStatus.NOT_CONNECTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegNews:
    """What a webhook says of one leg of a call.

    Attributes:
        conversation: What both legs of a call have in common.
        is_first_leg: Whether it is the caller's own leg, and not the one that a transfer has called.
        leg_id: The leg's own id; of the caller's leg it is the call's.
        to: Who is called: the digits of a number, or what else it was, in lower case without `sip:`.
        status: What it says of the connection, had this leg been called by a transfer; None for nothing.
        at: When it happened.
        began_at: When the leg began, where it is said; else the same.
    """

    conversation: str
    is_first_leg: bool
    leg_id: str
    to: str
    status: ConnectionStatus | None
    at: datetime | None
    began_at: datetime | None

    @property
    def call_id(self) -> str:
        """The call's id where this is the caller's leg, and its id is a UUID; else an empty text."""
        return read_call_id(self.leg_id) if self.is_first_leg else ""


class UnreadableWebhook(ValueError):
    """The body is not a JSON object."""


def read_webhook(body: bytes) -> LegNews | None:
    """Return what a webhook says of a leg; None where it says nothing of any.

    Raises:
        UnreadableWebhook: The body is not a JSON object.
    """
    try:
        value = read_object(body.decode())
    except UnicodeDecodeError:
        value = None
    if value is None:
        raise UnreadableWebhook
    conversation, leg = _token(value.get("conversation_uuid")), value.get("leg")
    if not conversation or leg not in ("a", "b", "A", "B"):
        return None
    return LegNews(
        conversation=conversation,
        is_first_leg=leg in ("a", "A"),
        leg_id=_token(value.get("cmiuuid")),
        to=read_address(value.get("to")),
        status=_read_status(value),
        at=_read_time(value, "time", "end_time", "start_time"),
        began_at=_read_time(value, "start_time", "time"),
    )


def read_address(value: object) -> str:
    """Return who is called, in the one spelling that is compared; empty where nobody can tell."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ""
    text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()
    if _NUMBER.fullmatch(text):
        return text.partition(".")[0].removeprefix("+")
    return text.lower().removeprefix("sip:")[:256]


def _token(value: object) -> str:
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else ""


def _read_status(value: dict[str, Any]) -> ConnectionStatus | None:
    status = value.get("status")
    if not isinstance(status, str):
        return None
    word = status.lower().removeprefix("out_").removeprefix("in_")
    is_cdr = value.get("type") == "cdr" or "end_time" in value or "duration" in value
    return (_OF_CDR if is_cdr else _OF_EVENT).get(word)


def _read_time(value: dict[str, Any], *names: str) -> datetime | None:
    """Return the first of these that is said."""
    for name in names:
        text = str(value.get(name, ""))
        if re.fullmatch(r"[0-9]{9,14}(\.[0-9]{1,6})?", text):
            number = float(text)
            seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
            at = datetime.fromtimestamp(seconds, UTC)
            return at if _EARLIEST <= at <= _LATEST else None
    return None
