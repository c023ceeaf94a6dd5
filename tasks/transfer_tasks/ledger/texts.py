"""What a text says that stands in Redis or came in a message, where anybody may have written anything."""

from __future__ import annotations

import json
from typing import Any, Final

_MAX_DIGITS: Final = 15


def read_number(text: str) -> int | None:
    """Return the number that a text of Redis's is; None where it is none of ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def read_object(text: str | bytes | bytearray) -> dict[str, Any] | None:
    """Return the JSON object that a text is; None where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
