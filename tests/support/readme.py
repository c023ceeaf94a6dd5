"""The README's snippets."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
_BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block_with(text: str) -> str:
    """Return the one snippet that contains `text`."""
    (found,) = [body for body in _BLOCKS if text in body]
    return str(found)


def lines_of(text: str) -> list[str]:
    """Return the lines of the one snippet that contains `text`, without their comments."""
    return [line.partition(" #")[0].strip() for line in block_with(text).splitlines()]
