"""Whether a JSON text names a field twice: its reader lets the last one win, silently."""

from __future__ import annotations

import re
from typing import Final

_STRINGS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
"""Of valid JSON; what is left of a text without them has one colon for each field."""


def has_name_twice(value: object, text: str | bytes | bytearray) -> bool:
    """Say so of a value that was read from a valid JSON text."""
    written = text if isinstance(text, str) else bytes(text).decode()
    return _count_names(value) != _STRINGS.sub("", written).count(":")


def _count_names(value: object) -> int:
    """Return how many names of fields stand in a JSON value."""
    if isinstance(value, dict):
        return len(value) + sum(map(_count_names, value.values()))
    return sum(map(_count_names, value)) if isinstance(value, list) else 0
