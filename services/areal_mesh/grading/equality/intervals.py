"""Sets of reals as sorted intervals: unions, differences, points, half-lines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from areal_mesh.grading.equality import numeric
from areal_mesh.grading.equality.scalars import Outcome, Sequences, infinite_sign
from areal_mesh.grading.trees.nodes import SCALARS, Bracketed, FiniteSet, Node, SetOperation, Symbol, symbols
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.shapes import INFINITY, MINUS_INFINITY

_LARGEST: Final = 10**300


@dataclass(frozen=True, slots=True)
class Interval:
    low: Node
    high: Node
    low_closed: bool
    high_closed: bool
    start: float | Fraction
    end: float | Fraction
    """Exact where the ends are rational."""


def is_interval_set(node: Node) -> bool:
    """Whether a node can only be read as a set of reals."""
    match node:
        case SetOperation():
            return True
        case Bracketed(left, items, right):
            if len(items) != 2 or "<" in (left, right):
                return False
            return (left, right) not in (("(", ")"), ("[", "]")) or any(map(infinite_sign, items))
        case Symbol("reals"):
            return True
        case _:
            return False


def compare_intervals(gold: Node, answer: Node, sequences: Sequences) -> Outcome:
    """Two sets of reals, by their disjoint intervals from left to right."""
    first, second = intervals_of(gold), intervals_of(answer)
    if first is None or second is None:
        if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
            if (gold.left, gold.right) != (answer.left, answer.right):
                return Outcome(False, "interval")
            return sequences(gold.items, answer.items, "interval")
        return Outcome(False, "interval")
    if len(first) != len(second):
        return Outcome(False, "interval")
    undecided = False
    for left, right in zip(first, second, strict=True):
        if (left.low_closed, left.high_closed) != (right.low_closed, right.high_closed):
            return Outcome(False, "interval")
        ends = sequences((left.low, left.high), (right.low, right.high), "interval")
        if ends.equal is False:
            return ends
        undecided = undecided or ends.equal is None
    return Outcome(None if undecided else True, "interval")


def intervals_of(node: Node) -> list[Interval] | None:
    """The set as disjoint intervals from left to right; None where it is no set of measurable reals."""
    match node:
        case Symbol("reals"):
            return [_interval(MINUS_INFINITY, INFINITY, False, False)]  # type: ignore[list-item]
        case Bracketed(left, (low, high), right) if left in "([" and right in ")]":
            interval = _interval(low, high, left == "[", right == "]")
            return None if interval is None else [interval]
        case FiniteSet(items):
            points = [_interval(item, item, True, True) for item in items]
            return None if None in points else _merged([point for point in points if point is not None])
        case SetOperation(operator, left_set, right_set):
            first, second = intervals_of(left_set), intervals_of(right_set)
            if first is None or second is None:
                return None
            if operator == "union":
                return _merged(first + second)
            return _intersection(first, _complement(second) if operator == "minus" else second)
    return None


def _interval(low: Node, high: Node, low_closed: bool, high_closed: bool) -> Interval | None:
    start, end = _position(low), _position(high)
    if start is None or end is None or start > end or (start == end and not (low_closed and high_closed)):
        return None
    return Interval(low, high, low_closed, high_closed, start, end)


def _position(node: Node) -> float | Fraction | None:
    if not isinstance(node, SCALARS):
        return None
    exact = rational(node)
    if exact is not None:
        return exact
    sign = infinite_sign(node)
    if sign:
        return sign * math.inf
    if symbols(node):
        return None
    try:
        value = numeric.evaluate(node)
    except numeric.Unmeasurable:
        return None
    return value.number.real if abs(value.number.imag) <= value.error else None


def _merged(intervals: list[Interval]) -> list[Interval]:
    result: list[Interval] = []
    for interval in sorted(intervals, key=lambda item: (item.start, not item.low_closed)):
        if result and _touches(result[-1], interval):
            last = result[-1]
            longer = interval if (interval.end, interval.high_closed) > (last.end, last.high_closed) else last
            result[-1] = Interval(last.low, longer.high, last.low_closed, longer.high_closed, last.start, longer.end)
        else:
            result.append(interval)
    return result


def _touches(left: Interval, right: Interval) -> bool:
    if _near(left.end, right.start):
        return left.high_closed or right.low_closed
    return right.start < left.end


def _near(left: float | Fraction, right: float | Fraction) -> bool:
    if left == right or (isinstance(left, Fraction) and isinstance(right, Fraction)):
        return left == right
    if not (-_LARGEST < left < _LARGEST and -_LARGEST < right < _LARGEST):
        return False
    return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12)


def _complement(intervals: list[Interval]) -> list[Interval]:
    result: list[Interval] = []
    start: float | Fraction = -math.inf
    low, low_closed = MINUS_INFINITY, False
    current: Node = low
    for interval in intervals:
        if start < interval.start or (start == interval.start and low_closed and not interval.low_closed):
            result.append(Interval(current, interval.low, low_closed, not interval.low_closed, start, interval.start))
        current, low_closed, start = interval.high, not interval.high_closed, interval.end
    if start < math.inf:
        result.append(Interval(current, INFINITY, low_closed, False, start, math.inf))
    return result


def _intersection(first: list[Interval], second: list[Interval]) -> list[Interval]:
    result: list[Interval] = []
    for left in first:
        for right in second:
            low = max((left, right), key=lambda item: (item.start, not item.low_closed))
            high = min((left, right), key=lambda item: (item.end, item.high_closed))
            closed = low.low_closed and high.high_closed
            if low.start < high.end or (low.start == high.end and closed):
                result.append(Interval(low.low, high.high, low.low_closed, high.high_closed, low.start, high.end))
    return sorted(result, key=lambda item: item.start)
