"""Expressions of SymPy as our trees."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final

import sympy
from sympy import Add, Expr, Mul, Pow, Rational, S

from areal_mesh.grading.symbolic.functions import FUNCTIONS, Undefined
from areal_mesh.grading.trees.nodes import Call, Constant, Node, Number, Power, Product, Sum, Symbol

_NAMES: Final[dict[Callable[..., object], str]] = {function: name for name, function in FUNCTIONS.items()} | {
    sympy.factorial: "factorial", sympy.factorial2: "double factorial", sympy.binomial: "binomial", sympy.log: "log",
}  # fmt: skip
_CONSTANTS: Final[dict[Expr, Constant]] = {
    S.Pi: Constant("pi"), S.Exp1: Constant("e"), S.ImaginaryUnit: Constant("i"),
}  # fmt: skip


def tree_of(expression: Expr) -> Node:
    """The tree of an expression.

    Raises:
        Undefined: where there is none: infinity, conditions, functions that answers do not have.
    """
    if isinstance(expression, Rational) and expression.is_finite:
        return Number(Fraction(int(expression.p), int(expression.q)))
    if expression in _CONSTANTS:
        return _CONSTANTS[expression]
    if isinstance(expression, sympy.Symbol):
        return Symbol(expression.name)
    parts = tuple(map(tree_of, expression.args))
    if isinstance(expression, Add):
        return Sum(parts)
    if isinstance(expression, Mul):
        return Product(parts)
    if isinstance(expression, Pow):
        return Power(*parts)
    if isinstance(expression, sympy.exp):
        return Power(Constant("e"), *parts)
    if expression.func in _NAMES:
        return Call(_NAMES[expression.func], parts)
    raise Undefined(f"{expression.func} is no scalar of ours")
