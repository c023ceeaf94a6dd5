"""Percentiles, spreads, and how figures stand in a table."""

from __future__ import annotations

import pytest
from benchmarks.figures.numbers import percentile, spread
from benchmarks.pages.tables import cell, number, table, values_of


@pytest.mark.parametrize(
    ("rank", "value"), [(0, 1.0), (50, 2.5), (100, 4.0), (99, pytest.approx(3.97)), (25, 1.75)]
)
def test_a_percentile_is_interpolated_whatever_the_order(rank, value):
    assert percentile([4.0, 1.0, 3.0, 2.0], rank) == value


def test_a_single_value_is_each_percentile():
    assert {percentile([7.0], rank) for rank in (0, 50, 99, 100)} == {7.0}


def test_a_spread_is_median_least_greatest():
    assert spread([9.0, 1.0, 2.0]) == (2.0, 1.0, 9.0)


def test_a_cell_has_the_median_and_the_range_where_there_is_one():
    assert cell([1.0, 3.0, 2.0]) == "2.00 (1.00-3.00)"
    assert cell([2.0]) == "2.00"
    assert cell([]) == "-"


def test_figures_have_three_digits_or_so():
    assert [number(value) for value in (0.123, 12.34, 1234.5, -1234.5)] == ["0.12", "12.3", "1234", "-1234"]


def test_a_round_that_lacks_a_figure_is_left_out():
    assert values_of([{"a": 1}, {"b": 2}, {"a": None}, {"a": 0}], "a") == [1, 0]


def test_a_table_is_markdown():
    assert table(("", "one"), [("a", "1"), ("b", "2")]) == "|  | one |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n"
