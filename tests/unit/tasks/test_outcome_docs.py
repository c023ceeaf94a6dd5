from __future__ import annotations

from pathlib import Path

import pytest

from transfer_tasks.outcome import GUIDE, Reason

DOCS = Path(__file__).parents[3] / "docs"


def sections() -> dict[str, str]:
    """Return the text of each state's section in docs/outcomes.md."""
    _, *parts = (DOCS / "outcomes.md").read_text("utf-8").split("\n## ")
    return {title: body for title, _, body in (part.partition("\n") for part in parts)}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_stands_in_the_documents_as_in_the_code(reason: Reason) -> None:
    guide = GUIDE[reason]

    assert f"| `{reason}` | {guide.meaning} | {guide.next_step} |" in sections()[guide.state]


def test_the_documents_name_no_other_reasons() -> None:
    rows = [line for line in "".join(sections().values()).splitlines() if line.startswith("| `")]

    assert len(rows) == len(Reason)
