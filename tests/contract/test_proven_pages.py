"""Pages that name the tests of what they say: each sentence, or section, has one, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DATA, SECURITY = ((TESTS.parent / "docs" / f"{name}.md").read_text("utf-8") for name in ("data", "security"))
NAMED = sorted(set(re.findall(r"`([\w/]+\.py::\w+)`", DATA + SECURITY)))
NAMES_A_TEST = r" \| `\w[\w/]+\.py::\w+`"


def list_rows(text: str) -> list[str]:
    """Return the rows of the tables in a text, without their heads."""
    rows: list[str] = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    return [row for row in rows if not row.startswith(("what |", "section |", "---"))]


def test_each_row_on_personal_data_says_something_and_names_a_test():
    rows = list_rows(DATA)
    assert len(rows) > 20
    assert [row for row in rows if not re.search(NAMES_A_TEST, row)] == []


def test_each_section_on_security_has_its_rows_and_each_row_names_a_test():
    sections, _, table = SECURITY.partition("## The tests")
    rows = list_rows(table)
    assert [row for row in rows if not re.search(NAMES_A_TEST, row)] == []
    assert list(dict.fromkeys(row.partition(" | ")[0] for row in rows)) == re.findall(
        "^## (.+)", sections, re.MULTILINE
    )


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_is_there(name):
    path, _, function = name.partition("::")
    assert f"def {function}(" in (TESTS / path).read_text("utf-8")
