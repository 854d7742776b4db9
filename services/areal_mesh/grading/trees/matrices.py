"""Arithmetic of matrices: what a sum, a product or a multiple of matrices is, and a determinant as a scalar."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from itertools import permutations
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Bracketed,
    Call,
    Matrix,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    with_children,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.shapes import count_nodes

_ZERO: Final = Number(Fraction(0))
_ONE: Final = Number(Fraction(1))
_ORDER: Final = 4
"""Largest determinant that is written out: its terms are as many as the permutations of its rows."""


def combined_matrix(node: Node) -> Node:
    """The one matrix that a sum, product or multiple of matrices is; any other node as it is.

    Entries are written out, not simplified. A combination beyond the bound on nodes stays as it is.
    """
    if isinstance(node, Product):
        return _scaled_point(node.factors) or _combined(node) or node
    if isinstance(node, Sum):
        return _sum_of_points(node.terms) or _combined(node) or node
    return (_combined(node) if isinstance(node, Quotient | Power) else None) or node


def _sum_of_points(terms: tuple[Node, ...]) -> Bracketed | None:
    """`(1, 0) + t(2, 3)` as `(1 + 2t, 3t)`; None where other than points is added."""
    points = [_scaled_point(term.factors) if isinstance(term, Product) else term for term in terms]
    found = [point for point in points if isinstance(point, Bracketed) and point.left != "["]
    if len(found) < len(terms) or len({len(point.items) for point in found}) != 1:
        return None
    return Bracketed("(", tuple(Sum(items) for items in zip(*(point.items for point in found), strict=True)), ")")


def _scaled_point(factors: tuple[Node, ...]) -> Bracketed | None:
    """`2(1, 3)` as (2, 6); None where other than one factor is a point of scalars."""
    points = [factor for factor in factors if isinstance(factor, Bracketed)]
    multiples = tuple(factor for factor in factors if not isinstance(factor, Bracketed))
    if len(points) != 1 or not all(isinstance(part, SCALARS) for part in (*multiples, *points[0].items)):
        return None
    left, items, right = points[0].left, points[0].items, points[0].right
    if (left, right) not in (("(", ")"), ("<", ">")):
        return None
    return Bracketed(left, tuple(Product((*multiples, item)) for item in items), right)


def as_matrix_like(node: Node, other: Node) -> Node:
    """A multiple of the identity `I`, or a nought, as the square matrix that it is beside one; others as they are."""
    if not isinstance(other, Matrix) or isinstance(node, Matrix) or not isinstance(node, SCALARS):
        return node
    order = len(other.rows)
    if order != len(other.rows[0]):
        return node
    if rational(node) == 0:
        return Matrix(((_ZERO,) * order,) * order)
    identity = Matrix(tuple(tuple(_ONE if row == column else _ZERO for column in range(order)) for row in range(order)))
    return combined_matrix(_with_identity(node, identity))


def _with_identity(node: Node, identity: Matrix) -> Node:
    if isinstance(node, Symbol):
        return identity if node.name in ("I", f"I_{len(identity.rows)}") else node
    return with_children(node, lambda child: _with_identity(child, identity))


def _combined(node: Node) -> Matrix | None:
    match node:
        case Matrix():
            return node
        case Power(Matrix(rows), Symbol("T")):
            return Matrix(tuple(zip(*rows, strict=True)))
        case Power(Bracketed(_, items, _), Symbol("T")):
            return Matrix(tuple((item,) for item in items))
        case Sum(terms):
            return _total([_combined(term) for term in terms])
        case Product(factors):
            return _product(factors)
        case Quotient(top, divisor) if isinstance(divisor, SCALARS):
            matrix = _combined(top)
            return matrix and _entries(matrix, lambda cell: Quotient(cell, divisor))
        case _:
            return None


def _entries(matrix: Matrix, change: Callable[[Node], Node]) -> Matrix:
    return Matrix(tuple(tuple(change(cell) for cell in row) for row in matrix.rows))


def _total(terms: list[Matrix | None]) -> Matrix | None:
    matrices = [term for term in terms if term is not None]
    if len(matrices) < len(terms) or len({(len(matrix.rows), len(matrix.rows[0])) for matrix in matrices}) != 1:
        return None
    rows = zip(*(matrix.rows for matrix in matrices), strict=True)
    return _bounded(tuple(tuple(Sum(cells) for cells in zip(*row, strict=True)) for row in rows))


def _product(factors: tuple[Node, ...]) -> Matrix | None:
    read = [(factor, _combined(factor)) for factor in factors]
    matrices = [matrix for _, matrix in read if matrix is not None]
    multiples = tuple(factor for factor, matrix in read if matrix is None)
    if not matrices or not all(isinstance(factor, SCALARS) for factor in multiples):
        return None
    first: Matrix | None = matrices[0]
    result = reduce(_multiplied, matrices[1:], first)
    if result is None or not multiples:
        return result
    return _entries(result, lambda cell: Product((*multiples, cell)))


def _multiplied(left: Matrix | None, right: Matrix) -> Matrix | None:
    if left is None or len(left.rows[0]) != len(right.rows):
        return None
    columns = list(zip(*right.rows, strict=True))
    return _bounded(tuple(tuple(Sum(tuple(map(_times, row, column))) for column in columns) for row in left.rows))


def _times(left: Node, right: Node) -> Node:
    return Product((left, right))


def _bounded(rows: tuple[tuple[Node, ...], ...]) -> Matrix | None:
    total = 0
    for row in rows:
        for cell in row:
            total += count_nodes(cell)
            if total > limits.NODES:
                return None
    return Matrix(rows)


def determinant(matrix: Matrix) -> Node:
    """A small determinant as the sum over permutations that defines it; a larger one as an unread function."""
    rows, order = matrix.rows, len(matrix.rows)
    if order != len(rows[0]) or order > _ORDER or _bounded(rows) is None:
        return Call("det", (matrix,))
    terms: list[Node] = []
    for columns in permutations(range(order)):
        swaps = sum(columns[low] > columns[high] for high in range(order) for low in range(high))
        cells = tuple(rows[row][column] for row, column in enumerate(columns))
        terms.append(Product((Number(Fraction(-1 if swaps % 2 else 1)), *cells)))
    total = Sum(tuple(terms))
    return total if count_nodes(total) <= limits.NODES else Call("det", (matrix,))
