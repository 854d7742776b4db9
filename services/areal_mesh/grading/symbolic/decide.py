"""The last and dearest rule, by SymPy: whether two scalars have the same values.

Values in double precision have agreed before, wherever they could be had. Here both sides are worked out to more than
a thousand digits, at two points where they have letters; what is too large for that is compared as exact expressions.
"""

from __future__ import annotations

from typing import Final

from sympy import Expr

from areal_mesh.grading import limits
from areal_mesh.grading.equality import numeric, samples
from areal_mesh.grading.equality.scalars import Compare, Outcome, compare_scalars
from areal_mesh.grading.symbolic.closing import closed
from areal_mesh.grading.symbolic.equations import same_zeros
from areal_mesh.grading.symbolic.functions import NO_VALUE, Unbounded
from areal_mesh.grading.symbolic.protocol import decide_by_protocol
from areal_mesh.grading.symbolic.values import BITS, Point
from areal_mesh.grading.trees.nodes import Constant, Node, Relation, children, has_operators, symbols
from areal_mesh.grading.trees.shapes import count_nodes
from areal_mesh.grading.verdict import Protocol

_POINTS: Final = 2
"""Points at which values are worked out: those in double precision have agreed at all of them."""
_FAILURES: Final = 4
"""Points without a value, one after another, after which no other is tried."""


def decide(gold: Node, answer: Node) -> Outcome:
    """Whether two scalars are equal, or two equations hold together; what is beyond the bounds is not."""
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        try:
            return Outcome(same_zeros(gold, answer), "equation")
        except NO_VALUE:
            return Outcome(False, "equation")
    if count_nodes(gold) > limits.NODES or count_nodes(answer) > limits.NODES:
        return Outcome(False, "symbolic")
    if has_operators(gold) or has_operators(answer):
        gold, answer = closed(gold), closed(answer)
        outcome = compare_scalars(gold, answer)
        if outcome.equal is not None:
            return outcome
    if _holds_infinity(gold) or _holds_infinity(answer):
        return Outcome(False, "symbolic")
    return Outcome(_same_values(gold, answer) is True, "symbolic")


def _holds_infinity(node: Node) -> bool:
    return node == Constant("infinity") or any(map(_holds_infinity, children(node)))


def _same_values(gold: Node, answer: Node) -> bool | None:
    """Whether the values are the same at the sample points; None where too few can be worked out."""
    names = symbols(gold) | symbols(answer)
    measured = failed = 0
    needed = _POINTS if names else 1
    for index in samples.decisive_points(gold, answer):
        try:
            point, left, right = _values(gold, answer, index)
        except NO_VALUE:
            failed += 1
            if failed > _FAILURES and not measured:
                return None  # no point will do
            continue
        if not samples.is_positive(index) and (
            not (left.is_real and right.is_real) or numeric.has_branch(gold, index) or numeric.has_branch(answer, index)
        ):
            continue
        if not point.agree(left, right):
            if names and numeric.has_branch(gold, index) and numeric.has_branch(answer, index):
                continue
            return False
        measured += 1
        if measured == needed:
            return True
    return None


def _values(gold: Node, answer: Node, index: int) -> tuple[Point, Expr, Expr]:
    """Both values at a sample point.

    Raises:
        ArithmeticError: if either has none, or one out of reach.
    """
    for bits in BITS[:-1]:
        point = Point(index, bits)
        try:
            return point, point.value(gold), point.value(answer)
        except Unbounded:
            continue  # with more digits it may be in reach
    point = Point(index, BITS[-1])
    return point, point.value(gold), point.value(answer)


DECIDERS: Final[dict[Protocol, Compare]] = {"qwen": decide, "strict_qwen": decide_by_protocol}
"""What decides under each protocol."""
