"""Equations by SymPy: whether two of them hold at the same points because their numerators are proportional."""

from __future__ import annotations

from typing import Final

from sympy import Add, Expr, Integer, Mul, Poly, Pow, fraction, together

from areal_mesh.grading import limits
from areal_mesh.grading.symbolic.expressions import Builder
from areal_mesh.grading.symbolic.functions import Unbounded, Undefined
from areal_mesh.grading.trees.nodes import Relation

_DEGREE: Final = 60


def same_zeros(gold: Relation, answer: Relation) -> bool:
    """Whether two equations of rational functions have proportional numerators: `y = 1/x` and `xy = 1`.

    Raises:
        ArithmeticError: beyond the bounds.
    """
    first, second = _numerator(gold), _numerator(answer)
    if first.gens != second.gens or first.is_zero or second.is_zero:
        return False
    return bool((first * second.LC() - second * first.LC()).is_zero)


def _numerator(node: Relation) -> Poly:
    builder = Builder(positive=False)
    left, right = (builder.build(side) for side in node.sides)
    top, _ = fraction(together(left - right))
    letters = sorted(top.free_symbols, key=str)
    if not letters:
        raise Undefined("no letters")
    if _terms(top) > limits.EXPAND_TERMS:
        raise Unbounded("more terms than are multiplied out")
    return Poly(top, *letters, domain="QQ")


def _terms(expression: Expr) -> int:
    """Terms that multiplying out may make, counted up to the bound and one beyond."""
    count = 1
    if isinstance(expression, Add):
        count = sum(map(_terms, expression.args))
    elif isinstance(expression, Pow) and isinstance(expression.exp, Integer):
        count = _terms(expression.base) ** min(abs(int(expression.exp)), _DEGREE)
    elif isinstance(expression, Mul):
        for factor in expression.args:
            count = min(count * _terms(factor), limits.EXPAND_TERMS + 1)
    return min(count, limits.EXPAND_TERMS + 1)
