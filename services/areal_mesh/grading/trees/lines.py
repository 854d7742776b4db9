"""Scalars that are linear in their one letter."""

from __future__ import annotations

from fractions import Fraction

from areal_mesh.grading.trees.nodes import Node, Number, Product, Quotient, Sum, Symbol, symbols
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.rewriting import replaced


def line_of(node: Node) -> tuple[str, Fraction, Node] | None:
    """(letter, slope, value at nought) of a linear scalar with a rational slope; None for any other."""
    letters = symbols(node)
    if len(letters) != 1 or not _is_linear(node):
        return None
    letter = next(iter(letters))
    slope = Fraction(0)
    for term in node.terms if isinstance(node, Sum) else (node,):
        if symbols(term):
            start, after = (rational(replaced(term, letter, Number(Fraction(at)))) for at in (0, 1))
            if start is None or after is None:
                return None
            slope += after - start
    return letter, slope, replaced(node, letter, Number(Fraction(0)))


def _is_linear(node: Node) -> bool:
    match node:
        case Symbol():
            return True
        case Sum(terms):
            return all(map(_is_linear, terms))
        case Product(factors):
            return sum(bool(symbols(factor)) for factor in factors) <= 1 and all(map(_is_linear, factors))
        case Quotient(top, bottom):
            return not symbols(bottom) and _is_linear(top)
        case _:
            return not symbols(node)
