"""As much of Prometheus as our alert rules need: an evaluator over recorded series, for want of promtool.

It reads promtool's own test files. `increase()` is not extrapolated to the ends of its range (Prometheus does
that): thresholds in the tests are not so near that it would matter, and promtool says the same where it is.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import promql_parser as promql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LOOKBACK_SECONDS = 300
STALE = None

Vector = dict[tuple[tuple[str, str], ...], float]

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {">": operator.gt, "<": operator.lt}
_AGGREGATIONS: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}
_SPAN = re.compile(r"(?P<first>_|-?[\d.]+)(?P<step>[+-][\d.]+)?x(?P<count>\d+)")


def read_seconds(text: str) -> int:
    """Return the seconds that ``90s`` or ``2m`` stands for."""
    return int(promql.parse_duration(text).total_seconds())


@dataclass(frozen=True)
class Series:
    """One series: a value for each second from 0 on; `STALE` ends it."""

    name: str
    labels: dict[str, str]
    values: list[float | None]

    @classmethod
    def read(cls, series: str, values: str) -> Series:
        """Read a line of ``input_series``, whose interval must be one second."""
        selector: Any = promql.parse(series)
        labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        return cls(selector.name, labels, list(_read_values(values)))

    def window(self, now: int, seconds: float) -> list[float]:
        """Return the values of the last seconds, up to and with `now`; none where it has ended."""
        known = self.values[max(0, now + 1 - int(seconds)) : now + 1]
        if not known or known[-1] is STALE:
            return []
        return [value for value in known if value is not STALE]


def _read_values(text: str) -> Iterator[float | None]:
    for item in text.split():
        span = _SPAN.fullmatch(item)
        if item == "stale":
            yield from [STALE] * LOOKBACK_SECONDS
        elif span is None:
            yield float(item)
        else:
            for number in range(int(span["count"]) + 1):
                yield float(span["first"]) + number * float(span["step"] or 0)


class Evaluator:
    """Evaluates expressions over recorded series.

    Args:
        series: What was recorded.
    """

    def __init__(self, series: list[Series]) -> None:
        self._series = series

    def evaluate(self, node: Any, now: int) -> Vector | float:
        """Return what an expression of `promql_parser` comes to at second `now`."""
        match node:
            case promql.NumberLiteral():
                return float(node.val)
            case promql.ParenExpr():
                return self.evaluate(node.expr, now)
            case promql.VectorSelector():
                return {key: values[-1] for key, values in self._select(node, now, LOOKBACK_SECONDS)}
            case promql.AggregateExpr():
                return self._aggregate(node, now)
            case promql.Call():
                return self._call(node, now)
            case promql.BinaryExpr():
                return self._combine(node, now)
        raise NotImplementedError(f"{type(node).__name__}: {node}")

    def _select(self, node: Any, now: int, seconds: float) -> Iterator[tuple[Any, list[float]]]:
        for series in self._series:
            matchers = node.matchers.matchers
            if series.name == node.name and all(_matches(matcher, series.labels) for matcher in matchers):
                values = series.window(now, seconds)
                if values:
                    yield tuple(sorted(series.labels.items())), values

    def _aggregate(self, node: Any, now: int) -> Vector:
        if node.modifier is not None:
            raise NotImplementedError(str(node.modifier))
        vector = self.evaluate(node.expr, now)
        assert isinstance(vector, dict)
        return {(): _AGGREGATIONS[str(node.op)](vector.values())} if vector else {}

    def _call(self, node: Any, now: int) -> Vector:
        argument = node.args[0]
        match node.func.name:
            case "increase":
                selected = self._select(argument.vector_selector, now, argument.range.total_seconds())
                return {key: _increase(values) for key, values in selected if len(values) > 1}
            case "absent":
                return {} if self.evaluate(argument, now) else {(): 1.0}
        raise NotImplementedError(node.func.name)

    def _combine(self, node: Any, now: int) -> Vector:
        left, right, sign = self.evaluate(node.lhs, now), self.evaluate(node.rhs, now), str(node.op)
        assert isinstance(left, dict), "an alert is about a vector"
        if sign == "or":
            assert isinstance(right, dict)
            return right | left
        if sign == "/":
            assert isinstance(right, dict)
            return {key: _divide(left[key], right[key]) for key in left.keys() & right.keys()}
        assert isinstance(right, float)
        return {key: value for key, value in left.items() if _COMPARISONS[sign](value, right)}


def _matches(matcher: Any, labels: Mapping[str, str]) -> bool:
    value = labels.get(matcher.name, "")
    match str(matcher.op).rpartition(".")[2]:
        case "Equal":
            return bool(value == matcher.value)
        case "NotEqual":
            return bool(value != matcher.value)
        case "Re":
            return re.fullmatch(matcher.value, value) is not None
        case "NotRe":
            return re.fullmatch(matcher.value, value) is None
    raise NotImplementedError(matcher.op)


def _increase(values: list[float]) -> float:
    return sum(later - earlier if later >= earlier else later for earlier, later in pairwise(values))


def _divide(above: float, below: float) -> float:
    return above / below if below else math.nan


def is_firing(rule: Mapping[str, Any], series: list[Series], at: int) -> bool:
    """Say whether an alert fires at second `at`, its ``for`` respected; evaluated every second."""
    evaluator, expression = Evaluator(series), promql.parse(rule["expr"])
    since: int | None = None
    for now in range(at + 1):
        if not evaluator.evaluate(expression, now):
            since = None
        elif since is None:
            since = now
    return since is not None and at - since >= (read_seconds(rule["for"]) if "for" in rule else 0)
