"""Tables of docs/compatibility.md that commands keep: each between two markers."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "compatibility.md"


def update_table(name: str, rows: list[list[str]], *, named_by: int = 1, page: Path = PAGE) -> None:
    """Put rows into the table `name`: each in place of the one with the same first cells, or at the end.

    Args:
        name: As it stands in the marker.
        rows: Their cells.
        named_by: How many cells tell one row from another.
        page: The document.
    """
    text = page.read_text("utf-8")
    found = re.search(rf"(<!-- table {name}: .*?-->\n\n)(.*?)(\n<!-- end -->)", text, re.DOTALL)
    if found is None:
        raise LookupError(f"{page.name} has no table {name!r}")
    head, rule, *body = found[2].splitlines()
    lines = [*body, *(f"| {' | '.join(row)} |" for row in rows)]
    by_name = {tuple(cell.strip() for cell in line.split("|")[1 : named_by + 1]): line for line in lines}
    table = "\n".join([head, rule, *by_name.values()]) + "\n"
    page.write_text(text[: found.start(2)] + table + text[found.end(2) :], "utf-8")
