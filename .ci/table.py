"""Tables of docs/compatibility.md that commands keep: each between two markers, a row by its first cell."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "compatibility.md"


def update_table(name: str, rows: list[list[str]], *, page: Path = PAGE) -> None:
    """Put rows into the table `name`: each in place of the one with the same first cell, or at the end."""
    text = page.read_text("utf-8")
    found = re.search(rf"(<!-- table {name}: .*?-->\n\n)(.*?)(\n<!-- end -->)", text, re.DOTALL)
    if found is None:
        raise LookupError(f"{page.name} has no table {name!r}")
    head, rule, *body = found[2].splitlines()
    by_name = {line.split("|")[1].strip(): line for line in body} | {
        row[0]: f"| {' | '.join(row)} |" for row in rows
    }
    table = "\n".join([head, rule, *by_name.values()]) + "\n"
    page.write_text(text[: found.start(2)] + table + text[found.end(2) :], "utf-8")
