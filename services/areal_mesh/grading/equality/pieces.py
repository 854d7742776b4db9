r"""Functions in pieces: `\begin{cases} x & x \ge 0 \\ -x & x < 0 \end{cases}` is `|x|`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Final

from areal_mesh.grading.equality import numeric
from areal_mesh.grading.equality.scalars import Compare, Outcome
from areal_mesh.grading.trees.nodes import SCALARS, Bracketed, FiniteSet, Node, Number, Relation, Words, symbols
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.rewriting import replaced

_OTHERWISE: Final = Words("otherwise")
_SHARES: Final = tuple(Fraction(share, 1009) for share in (101, 263, 433, 577, 757, 929))
"""Of the way between two bounds, where the pieces there are compared."""
_MOST_BOUNDS: Final = 8
_BEYOND: Final = 7
"""How far beyond the outermost bounds they are."""


def compare_pieces(gold: Node, answer: Node, scalars: Compare) -> Outcome | None:
    """Whether two functions of one letter agree at the bounds of their pieces and between; None for anything else."""
    if not (_is_in_pieces(gold) or _is_in_pieces(answer)):
        return None
    conditions = [condition for node in (gold, answer) for condition in _conditions(node)]
    letters = frozenset[str]().union(*(symbols(side) for condition in conditions for side in condition.sides))
    bounds = sorted({bound for condition in conditions for bound in _bounds(condition)})
    if (
        len(letters) != 1
        or not 0 < len(bounds) <= _MOST_BOUNDS
        or not all(_is_in_pieces(node) or _is_scalar(node) for node in (gold, answer))
    ):
        return None
    letter = next(iter(letters))
    undecided = False
    for at in _points(bounds):
        pair = _value(gold, letter, at), _value(answer, letter, at)
        if pair[0] is None or pair[1] is None:
            if pair[0] is not pair[1]:
                return Outcome(False, "pieces")
            continue
        equal = scalars(pair[0], pair[1]).equal
        if equal is False:
            return Outcome(False, "pieces")
        undecided = undecided or equal is None
    return Outcome(None if undecided else True, "pieces")


def _is_in_pieces(node: Node) -> bool:
    return isinstance(node, FiniteSet) and bool(node.items) and all(map(_is_piece, node.items))


def _is_piece(node: Node) -> bool:
    match node:
        case Bracketed("(", (value, Relation(sides, operators)), ")"):
            return _is_scalar(value) and all(map(_is_scalar, sides)) and set(operators) <= set(_HOLDS)
        case Bracketed("(", (value, Words()), ")"):
            return _is_scalar(value) and node.items[1] == _OTHERWISE
        case _:
            return False


def _is_scalar(node: Node) -> bool:
    return isinstance(node, SCALARS)


def _conditions(node: Node) -> list[Relation]:
    pieces = node.items if isinstance(node, FiniteSet) else ()
    found = (piece.items[1] for piece in pieces if isinstance(piece, Bracketed))
    return [condition for condition in found if isinstance(condition, Relation)]


def _bounds(condition: Relation) -> Iterator[Fraction]:
    for side in condition.sides:
        if not symbols(side):
            bound = _number(side)
            if bound is not None:
                yield bound


def _points(bounds: list[Fraction]) -> Iterator[Fraction]:
    for low, high in pairwise((bounds[0] - _BEYOND, *bounds, bounds[-1] + _BEYOND)):
        yield from (low + (high - low) * share for share in _SHARES)
    yield from bounds


def _value(node: Node, letter: str, at: Fraction) -> Node | None:
    """What a function is worth at a point; None where it has no piece there."""
    pieces = node.items if isinstance(node, FiniteSet) else (Bracketed("(", (node, _OTHERWISE), ")"),)
    for piece in pieces:
        assert isinstance(piece, Bracketed)
        value, condition = piece.items
        if condition == _OTHERWISE or (isinstance(condition, Relation) and _holds(condition, letter, at)):
            return replaced(value, letter, Number(at))
    return None


def _holds(condition: Relation, letter: str, at: Fraction) -> bool:
    values = [_number(replaced(side, letter, Number(at))) for side in condition.sides]
    return all(
        left is not None and right is not None and _HOLDS[operator](left, right)
        for operator, (left, right) in zip(condition.operators, pairwise(values), strict=True)
    )


def _number(node: Node) -> Fraction | None:
    value = rational(node)
    if value is not None:
        return value
    try:
        return Fraction(numeric.evaluate(node).number.real)
    except (numeric.Unmeasurable, ValueError):
        return None


_HOLDS: Final = {
    "<": Fraction.__lt__, "<=": Fraction.__le__, ">": Fraction.__gt__, ">=": Fraction.__ge__,
    "=": Fraction.__eq__, "!=": Fraction.__ne__,
}  # fmt: skip
