"""Each sentence of docs/data.md has its test, and each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/data.md").read_text("utf-8")
ROWS = [
    row for row in re.findall(r"^\| (.+) \|$", PAGE, re.MULTILINE) if not row.startswith(("what |", "---"))
]


def test_each_row_says_something_and_names_a_test():
    assert len(ROWS) > 20
    assert [row for row in ROWS if not re.search(r" \| `\w[\w/]+\.py::\w+`", row)] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py::\w+)`", PAGE))))
def test_a_test_that_is_named_is_there(name):
    path, _, function = name.partition("::")
    assert f"def {function}(" in (TESTS / path).read_text("utf-8")
