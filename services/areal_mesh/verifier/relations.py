"""Equations, inequalities and memberships: what they say of a name, and when two of them say the same."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from areal_mesh.verifier import exact, numeric
from areal_mesh.verifier.nodes import (
    SCALARS,
    Bracketed,
    Call,
    Listing,
    Node,
    Number,
    Product,
    Relation,
    Sum,
    Symbol,
    negated,
    symbols,
)
from areal_mesh.verifier.rationals import Inexact
from areal_mesh.verifier.scalars import Outcome
from areal_mesh.verifier.shapes import interval_of, is_name, renamed

Compare: TypeAlias = Callable[[Node, Node], Outcome]

_DIFFERENT = Outcome(False, "relation")
_APPROXIMATION = 0.02
"""How far `a \\approx b` may be from an equation."""


def value_of(node: Node) -> tuple[Node | None, Node] | None:
    """(name, value) of what a relation says about a name; the node itself where it is no relation.

    None for a relation that says nothing of one name.
    """
    if not isinstance(node, Relation):
        return None, node
    operators = set(node.operators)
    if operators <= {"=", "~"}:
        return _equated(node)
    if operators <= {"in", "to"} and len(node.sides) == 2 and is_name(node.sides[0]):
        return node.sides[0], node.sides[1]
    if len(node.sides) > 3 or "~" in operators:
        return None
    return interval_of(node)


def _equated(node: Relation) -> tuple[Node | None, Node] | None:
    names = [side for side in node.sides if is_name(side)]
    values = [side for side in node.sides if not is_name(side)]
    if not values:
        # `y = x`: the last side is the value.
        return (node.sides[0], node.sides[-1]) if len(node.sides) == 2 else None
    if not names:
        return (None, values[0]) if all(not symbols(value) for value in values if _is_scalar(value)) else None
    if not (is_name(node.sides[0]) or (is_name(node.sides[-1]) and len(values) == 1)):
        return None
    return names[0], values[0]


def _is_scalar(node: Node) -> bool:
    return isinstance(node, SCALARS)


def compare_relations(gold: Node, answer: Node, compare: Compare, scalars: Compare) -> Outcome:
    """Whether two answers of which at least one is a relation say the same."""
    for side in (gold, answer):
        if isinstance(side, Relation) and not _consistent(side, compare):
            return Outcome(False, "forged equality")
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        answer = _with_argument_of(gold, answer)
    said, stated = value_of(gold), value_of(answer)
    if said is not None and stated is not None:
        if said[0] is None or stated[0] is None or _same_name(said[0], stated[0]):
            outcome = _values(gold, answer, said[1], stated[1], compare)
            if outcome.equal is not False or not _both_equations(gold, answer):
                return outcome
        elif not _both_equations(gold, answer):
            return Outcome(False, "name")
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        if _both_equations(gold, answer):
            return _equations(gold, answer, scalars)
        return _inequalities(gold, answer, compare, scalars)
    return _DIFFERENT


def _with_argument_of(gold: Relation, answer: Relation) -> Relation:
    """`f(t) = t + 1` as `f(x) = x + 1`, where the reference calls the argument x."""
    named, other = gold.sides[0], answer.sides[0]
    if not isinstance(named, Call) or not isinstance(other, Call) or named.function != other.function:
        return answer
    match named.arguments, other.arguments:
        case (Symbol(argument),), (Symbol(written),) if argument != written:
            if not any(argument in symbols(side) for side in answer.sides) and all(map(_is_scalar, answer.sides)):
                return Relation(tuple(renamed(side, written, argument) for side in answer.sides), answer.operators)
    return answer


def _values(gold: Node, answer: Node, said: Node, stated: Node, compare: Compare) -> Outcome:
    if any(_is_membership(one) and isinstance(other, Listing) for one, other in ((gold, stated), (answer, said))):
        # `x = 1, 2` names two values, `x \in (1, 2)` what lies between them.
        return _DIFFERENT
    outcome = compare(said, stated)
    rule = "equation" if isinstance(gold, Relation) and "=" in gold.operators else "relation"
    if outcome.equal is False and isinstance(gold, Relation) and "~" in gold.operators:
        # A gold with an approximation offers both.
        outcome = compare(gold.sides[-1], stated)
    return Outcome(outcome.equal, outcome.rule if outcome.rule in ("decimal", "interval") else rule)


def _is_membership(node: Node) -> bool:
    return isinstance(node, Relation) and node.operators == ("in",) and isinstance(node.sides[1], Bracketed)


def _both_equations(gold: Node, answer: Node) -> bool:
    return all(isinstance(side, Relation) and side.operators == ("=",) for side in (gold, answer))


def _same_name(left: Node, right: Node) -> bool:
    if left == right:
        return True
    # y and f(x) name the same thing in questions about graphs.
    pair = (left, right)
    return any(node == Symbol("y") for node in pair) and any(
        isinstance(node, Call) and node.function == "f" for node in pair
    )


def _consistent(node: Relation, compare: Compare) -> bool:
    """Whether the numbers that a chain equates are equal: `4 = 5` is a forgery, not the answer 5."""
    values = [(side, index) for index, side in enumerate(node.sides) if _is_scalar(side) and not symbols(side)]
    for (left, at), (right, to) in pairwise(values):
        between = set(node.operators[at:to])
        if between == {"="} and not compare(left, right).equal:
            return False
        if "~" in between and between <= {"=", "~"} and not _nearly(left, right):
            return False
    return True


def _nearly(left: Node, right: Node) -> bool:
    try:
        first, second = numeric.evaluate(left).number, numeric.evaluate(right).number
    except numeric.Unmeasurable:
        return False
    return abs(first - second) <= _APPROXIMATION * max(abs(first), abs(second))


def _difference(node: Relation) -> Node | None:
    left, right = node.sides
    return Sum((left, negated(right))) if _is_scalar(left) and _is_scalar(right) else None


def _equations(gold: Relation, answer: Relation, scalars: Compare) -> Outcome:
    """Equations are the same where their differences of sides are proportional, by a constant not zero."""
    first, second = _difference(gold), _difference(answer)
    if first is None or second is None:
        return _DIFFERENT
    factor = _factor(first, second)
    if factor is None:
        return Outcome(False, "equation")
    return Outcome(_scaled(first, second, factor, scalars).equal, "equation")


def _scaled(first: Node, second: Node, factor: Fraction, scalars: Compare) -> Outcome:
    try:
        if exact.proportional(first, second) is not None:
            return Outcome(True, "equation")
    except Inexact:
        pass  # no normal form: values and algebra decide
    return scalars(first, Product((Number(factor), second)))


def _factor(first: Node, second: Node) -> Fraction | None:
    """The constant ratio of two scalars over the sample points; None where there is none."""
    ratios: list[complex] = []
    for index in range(numeric.SAMPLES):
        try:
            left, right = numeric.evaluate(first, index), numeric.evaluate(second, index)
        except numeric.Unmeasurable:
            continue
        if abs(right.number) <= 64 * right.error or abs(left.number) <= 64 * left.error:
            return None
        ratios.append(left.number / right.number)
    if len(ratios) < 2 or any(abs(ratio - ratios[0]) > 1e-9 * abs(ratios[0]) for ratio in ratios):
        return None
    if abs(ratios[0].imag) > 1e-9 * abs(ratios[0]):
        return None
    return Fraction(ratios[0].real).limit_denominator(10**6)


def _inequalities(gold: Relation, answer: Relation, compare: Compare, scalars: Compare) -> Outcome:
    """Chains with the same directions, or single inequalities whose differences have a positive ratio."""
    first, second = _towards_less(gold), _towards_less(answer)
    if first.operators != second.operators:
        return Outcome(False, "inequality")
    if len(first.sides) == 2:
        left, right = _difference(first), _difference(second)
        if left is None or right is None:
            return _DIFFERENT
        factor = _factor(left, right)
        if factor is None or (factor <= 0 and first.operators[0] != "!="):
            return Outcome(False, "inequality")
        return Outcome(_scaled(left, right, factor, scalars).equal, "inequality")
    outcomes = [compare(left, right).equal for left, right in zip(first.sides, second.sides, strict=True)]
    return Outcome(False if False in outcomes else None if None in outcomes else True, "inequality")


def _towards_less(node: Relation) -> Relation:
    if all(operator in (">", ">=") for operator in node.operators):
        flipped = tuple("<" if operator == ">" else "<=" for operator in reversed(node.operators))
        return Relation(node.sides[::-1], flipped)
    return node
