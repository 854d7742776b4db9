"""Two equations, inequalities or chains with letters on both sides: when they say the same."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from areal_mesh.grading.equality import numeric, samples
from areal_mesh.grading.equality.scalars import Compare, Outcome
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Relation,
    Sum,
    children,
    negated,
    symbols,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.rewriting import replaced

_PRIMES: Final = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
_DIFFERENT: Final = Outcome(False, "relation")


def _difference(node: Relation) -> Node | None:
    left, right = node.sides
    return Sum((left, negated(right))) if isinstance(left, SCALARS) and isinstance(right, SCALARS) else None


def compare_equations(gold: Relation, answer: Relation, scalars: Compare) -> Outcome:
    """Equations are the same where their differences of sides are proportional, by a constant not zero."""
    first, second = _difference(gold), _difference(answer)
    if first is None or second is None:
        return _DIFFERENT
    if _ratio(first, second) is not None:
        return Outcome(_proportional(first, second, scalars), "equation")
    if symbols(first) != symbols(second) or not (_is_rational_function(first) and _is_rational_function(second)):
        return Outcome(False, "equation")
    # `y = 1/x` and `xy = 1`: their numerators are proportional.
    return Outcome(scalars(gold, answer).equal, "equation")


def _is_rational_function(node: Node) -> bool:
    if isinstance(node, Call | Constant) or (isinstance(node, Power) and not _is_whole(node.exponent)):
        return False
    return all(map(_is_rational_function, children(node)))


def _is_whole(node: Node) -> bool:
    value = rational(node)
    return value is not None and value.denominator == 1


def _proportional(first: Node, second: Node, scalars: Compare) -> bool | None:
    """Whether two scalars have one ratio everywhere: the one that they have where their letters are small primes."""
    letters = sorted(symbols(first) | symbols(second))
    for start in range(len(_PRIMES) - len(letters)):
        ones, others = first, second
        for letter, prime in zip(letters, _PRIMES[start:], strict=False):
            ones, others = (replaced(node, letter, Number(Fraction(prime))) for node in (ones, others))
        if _is_measurable(ones) and _is_measurable(others):
            return scalars(Product((first, others)), Product((second, ones))).equal
    return False


def _is_measurable(node: Node) -> bool:
    """Whether a number is certainly not zero."""
    try:
        value = numeric.evaluate(node)
    except numeric.Unmeasurable:
        return False
    return abs(value.number) > 64 * value.error


def _ratio(first: Node, second: Node) -> float | None:
    """The constant ratio of two scalars over the sample points; None where there is none."""
    ratios: list[complex] = []
    for index in samples.sample_points(first, second):
        try:
            left, right = numeric.evaluate(first, index), numeric.evaluate(second, index)
        except numeric.Unmeasurable:
            continue
        zeros = abs(left.number) <= 64 * left.error, abs(right.number) <= 64 * right.error
        if all(zeros):
            continue
        if any(zeros):
            return None
        ratios.append(left.number / right.number)
        if not cmath.isfinite(ratios[-1]):
            return None
    if len(ratios) < 2 or any(abs(ratio - ratios[0]) > 1e-9 * abs(ratios[0]) for ratio in ratios):
        return None
    if abs(ratios[0].imag) > 1e-9 * abs(ratios[0]):
        return None
    return ratios[0].real


def compare_inequalities(gold: Relation, answer: Relation, compare: Compare, scalars: Compare) -> Outcome:
    """Chains with the same directions, or single inequalities whose differences have a positive ratio."""
    first, second = _towards_less(gold), _towards_less(answer)
    if first.operators != second.operators:
        return Outcome(False, "inequality")
    if len(first.sides) > 2 and set(first.operators) == {"="}:
        return _symmetric(first, second, compare, scalars)
    if len(first.sides) == 2:
        left, right = _difference(first), _difference(second)
        if left is None or right is None:
            return _DIFFERENT
        ratio = _ratio(left, right)
        if ratio is None or (ratio <= 0 and first.operators[0] != "!="):
            return Outcome(False, "inequality")
        return Outcome(_proportional(left, right, scalars), "inequality")
    outcomes = [compare(left, right).equal for left, right in zip(first.sides, second.sides, strict=True)]
    return Outcome(_all(outcomes), "inequality")


def _symmetric(gold: Relation, answer: Relation, compare: Compare, scalars: Compare) -> Outcome:
    """Chains of equalities, such as a line's: the same where one linear change takes each side of one to the other's.

    The sides are told apart by their letters: `\\frac{x}{2} = \\frac{y}{3}` is `\\frac{y}{-3} = \\frac{x}{-2}`.
    """
    others = {symbols(side): side for side in answer.sides if isinstance(side, SCALARS)}
    pairs = [(side, others.get(symbols(side))) for side in gold.sides if isinstance(side, SCALARS) and symbols(side)]
    found = [(side, other) for side, other in pairs if other is not None]
    if len(found) < len(gold.sides) or len(others) < len(answer.sides):
        outcomes = [compare(left, right).equal for left, right in zip(gold.sides, answer.sides, strict=True)]
        return Outcome(_all(outcomes), "equation")
    change = _linear_change(*found[0])
    if change is None:
        return Outcome(False, "equation")
    slope, shift = map(Number, change)
    outcomes = [scalars(side, Sum((Product((slope, other)), shift))).equal for side, other in found]
    return Outcome(_all(outcomes), "equation")


def _all(outcomes: Sequence[bool | None]) -> bool | None:
    return False if False in outcomes else None if None in outcomes else True


def _linear_change(first: Node, second: Node) -> tuple[Fraction, Fraction] | None:
    """(slope, shift) of the line on which two scalars of the same letters lie at two sample points."""
    try:
        (left, right), (other_left, other_right) = (
            [numeric.evaluate(node, index).number.real for node in (first, second)] for index in (0, 1)
        )
        slope = Fraction((left - other_left) / (right - other_right)).limit_denominator(10**4)
        shift = Fraction(left - float(slope) * right).limit_denominator(10**4)
    except (numeric.Unmeasurable, ZeroDivisionError, ValueError):
        return None
    return (slope, shift) if slope else None


def _towards_less(node: Relation) -> Relation:
    if all(operator in (">", ">=") for operator in node.operators):
        flipped = tuple("<" if operator == ">" else "<=" for operator in reversed(node.operators))
        return Relation(node.sides[::-1], flipped)
    return node
