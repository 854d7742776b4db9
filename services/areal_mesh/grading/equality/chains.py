"""Chains of equalities: whether what they equate is equal, up to a modulus or an approximation."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from areal_mesh.grading.equality import numeric
from areal_mesh.grading.equality.scalars import Compare, resolution
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    BasedNumber,
    Bracketed,
    Call,
    Constant,
    FiniteSet,
    Listing,
    Matrix,
    Measured,
    Node,
    Number,
    Ratio,
    Relation,
    SetOperation,
    Symbol,
    Words,
    children,
    symbols,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.rewriting import replaced
from areal_mesh.grading.trees.shapes import interval_of, is_name

_UNKNOWN = frozenset({"det", "prime"})
"""Functions of what the question says."""
_APPROXIMATION = 0.02
"""How far `a \\approx b` may be from an equation."""


def consistent(node: Relation, compare: Compare) -> bool | None:
    """Whether the values in a chain of equalities agree: `4 = 5` is a forgery, not the answer 5.

    A side with letters or unknown functions in it is no value: the question says what it is worth. Where the chain
    gives a letter its value, what has no other letter is a value too. None where only algebra can tell.
    """
    modulus = modulus_of(node.sides[-1])
    given = _given(node)
    undecided = False
    worked_out = [(_with_given(side, given), index) for index, side in enumerate(node.sides)]
    stated = [(side, index) for side, index in worked_out if is_value(side)]
    for (left, at), (right, to) in pairwise(stated):
        between = set(node.operators[at:to])
        if not between <= {"=", "~"}:
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


def is_value(node: Node) -> bool:
    """Whether a side has a value of its own, whatever the question is."""
    match node:
        case Number() | Constant() | BasedNumber():
            return True
        case Words():
            return not is_name(node)
        case Measured(value, _):
            return is_value(value)
        case Bracketed(_, items, _) | FiniteSet(items) | Listing(items) | Ratio(items):
            return all(map(is_value, items))
        case Matrix(rows):
            return all(is_value(cell) for row in rows for cell in row)
        case SetOperation(_, left, right):
            return is_value(left) and is_value(right)
        case Relation():
            bounds = interval_of(node)
            return bounds is not None and is_value(bounds[1])
        case Symbol("reals" | "complexes" | "integers" | "naturals" | "rationals"):
            return True
        case Call(function, arguments):
            return function not in _UNKNOWN and not is_name(node) and all(map(is_value, arguments))
        case _:
            return bool(children(node)) and not is_name(node) and all(map(is_value, children(node)))


def _given(node: Relation) -> tuple[str, Node] | None:
    """The letter that a chain of equalities gives a value, with that value."""
    letters = [side.name for side in node.sides if isinstance(side, Symbol) and not is_value(side)]
    values = [side for side in node.sides if isinstance(side, SCALARS) and is_value(side)]
    return (letters[0], values[0]) if letters and values and set(node.operators) == {"="} else None


def _with_given(node: Node, given: tuple[str, Node] | None) -> Node:
    if given is None or not isinstance(node, SCALARS) or isinstance(node, Symbol):
        return node
    return replaced(node, *given) if symbols(node) == {given[0]} else node


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


def holds_unknown_function(node: Node) -> bool:
    """`2f(2) - f(8)`: worth what the question says of f."""
    if isinstance(node, Call) and is_name(node) and node.function != "abs":
        return True
    return any(map(holds_unknown_function, children(node)))


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
