"""Chains of equalities: whether what they equate is equal, up to a modulus or an approximation."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from areal_mesh.grading.equality import numeric
from areal_mesh.grading.equality.scalars import Compare, resolution
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    BasedNumber,
    Call,
    Matrix,
    Measured,
    Node,
    Number,
    Relation,
    children,
    symbols,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.shapes import is_name

_APPROXIMATION = 0.02
"""How far `a \\approx b` may be from an equation."""


def consistent(node: Relation, compare: Compare) -> bool | None:
    """Whether what a chain equates is equal: `4 = 5` is a forgery, not the answer 5. None where only algebra can tell.

    The first side may be what the question says is worth the others: a name, an unknown function, an expression.
    """
    modulus = modulus_of(node.sides[-1])
    undecided = False
    if len(node.sides) == 2 and any(map(_is_unknown, node.sides)):
        return True  # an equation
    stated = [(side, index) for index, side in enumerate(node.sides) if not is_name(side)]
    for position, ((left, at), (right, to)) in enumerate(pairwise(stated)):
        between = set(node.operators[at:to])
        if not between <= {"=", "~"} or (position == 0 and at == 0 and _is_unknown(left)):
            continue
        if "~" in between:
            equal: bool | None = _nearly(_bare(left), _bare(right))
        elif modulus is not None:
            equal = congruent(left, right, modulus)
        else:
            equal = compare(_in_base_ten(left), _in_base_ten(right)).equal
        if equal is False:
            return False
        undecided = undecided or equal is None
    return None if undecided else True


def modulus_of(node: Node) -> int | None:
    if isinstance(node, Measured) and node.unit.removeprefix("mod ").isdigit():
        return int(node.unit.removeprefix("mod "))
    return None


def congruent(left: Node, right: Node, modulus: int) -> bool:
    """Whether two integers leave the same remainder: `2^5 = 4 (mod 7)`."""
    values = [rational(side.value if isinstance(side, Measured) else side) for side in (left, right)]
    if any(value is None or value.denominator != 1 for value in values):
        return False
    first, second = values
    return first is not None and second is not None and (first - second) % modulus == 0


def _is_unknown(node: Node) -> bool:
    """Whether a side is worth what the question says: it has names in it, or a function that is not known."""
    if not isinstance(node, SCALARS):
        return False
    if symbols(node) or _holds_matrix(node):
        return True
    return holds_unknown_function(node)


def holds_unknown_function(node: Node) -> bool:
    """`2f(2) - f(8)`: worth what the question says of f."""
    if isinstance(node, Call) and is_name(node) and node.function != "abs":
        return True
    return any(map(holds_unknown_function, children(node)))


def _holds_matrix(node: Node) -> bool:
    return isinstance(node, Matrix) or any(map(_holds_matrix, children(node)))


def _bare(node: Node) -> Node:
    return node.value if isinstance(node, Measured) else node


def _in_base_ten(node: Node) -> Node:
    return Number(Fraction(int(node.digits, node.base))) if isinstance(node, BasedNumber) else node


def _nearly(left: Node, right: Node) -> bool:
    if not (isinstance(left, SCALARS) and isinstance(right, SCALARS)):
        return False
    try:
        first, second = numeric.evaluate(left).number, numeric.evaluate(right).number
    except numeric.Unmeasurable:
        return False
    place = resolution(right)
    rounded = place is not None and Fraction(abs(first - second)) <= Fraction(6, 10) * place
    cut = place is not None and abs(first) - abs(second) >= 0 and abs(first - second) < place
    return rounded or cut or abs(first - second) <= _APPROXIMATION * max(abs(first), abs(second))
