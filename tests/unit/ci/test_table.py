"""Tables that commands keep: a row is replaced by its first cell, the rest of the page stays as it is."""

from __future__ import annotations

import pytest

PAGE = """# Page

<!-- table servers: written by make test-servers -->

| server | result |
|---|---|
| Redis 7 | 1 passed |

<!-- end -->

The end.
"""


@pytest.fixture
def update(tmp_path):
    from table import update_table

    page = tmp_path / "page.md"
    page.write_text(PAGE)

    def run(name: str, *rows: list[str], named_by: int = 1) -> str:
        update_table(name, list(rows), named_by=named_by, page=page)
        return page.read_text()

    return run


def test_a_row_takes_the_place_of_the_one_with_its_name(update):
    assert update("servers", ["Redis 7", "2 passed"]) == PAGE.replace("1 passed", "2 passed")


def test_a_new_row_comes_last_and_can_be_replaced_in_turn(update):
    update("servers", ["Valkey 8", "3 passed"])

    text = update("servers", ["Valkey 8", "4 passed"])

    assert text == PAGE.replace("1 passed |\n", "1 passed |\n| Valkey 8 | 4 passed |\n")


def test_rows_named_by_two_cells_stand_beside_each_other(update):
    update("servers", ["Redis 7", "of Debian"], named_by=2)

    text = update("servers", ["Redis 7", "1 passed"], named_by=2)

    assert text == PAGE.replace("1 passed |\n", "1 passed |\n| Redis 7 | of Debian |\n")


def test_a_page_without_that_table_is_an_error(update):
    with pytest.raises(LookupError):
        update("machines", ["a", "b"])
