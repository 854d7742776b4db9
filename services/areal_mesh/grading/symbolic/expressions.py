"""SymPy's expressions of scalars, built node by node; nothing is read from text.

What takes long to build stays unevaluated: powers and roots of large integers. Letters stand for positive numbers, or
for integers where the caller says so.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Rational, S

from areal_mesh.grading import limits
from areal_mesh.grading.symbolic.functions import FUNCTIONS, Unbounded, Undefined
from areal_mesh.grading.trees.nodes import Call, Constant, Node, Number, Power, Product, Quotient, Sum, Symbol
from areal_mesh.grading.trees.shapes import count_nodes

_NODES: Final = 200
"""Of an expression that may simplify itself while it is built."""
_ROOT_BITS: Final = 512
"""Of an integer whose root SymPy may look for: it factors it."""
_CONSTANTS: Final = {"pi": S.Pi, "e": S.Exp1, "i": S.ImaginaryUnit}
_NOT_FINITE: Final = (S.NaN, S.ComplexInfinity, S.Infinity, S.NegativeInfinity)


class Builder:
    """Builds expressions whose letters have assumptions in common."""

    def __init__(self, whole: Collection[str] = (), *, positive: bool = True) -> None:
        self._whole = frozenset(whole)
        self._positive = positive or None

    def symbol(self, name: str) -> sympy.Symbol:
        if name in self._whole:
            return sympy.Symbol(name, integer=True, positive=True)
        return sympy.Symbol(name, positive=self._positive, real=True)

    def call(self, name: str, arguments: tuple[Expr, ...]) -> Expr:
        if name not in FUNCTIONS:
            raise Undefined(f"{name} is no function of SymPy's")
        return FUNCTIONS[name](*arguments)

    def build(self, node: Node) -> Expr:
        """The expression of a scalar.

        Raises:
            Undefined: where a part of it is infinite, or no scalar.
            Unbounded: if it is too large.
        """
        if count_nodes(node) > _NODES:
            raise Unbounded("more nodes than SymPy is given")
        return self._built(node)

    def _built(self, node: Node) -> Expr:
        expression = self._made(node)
        if expression in _NOT_FINITE or expression.is_finite is False:
            raise Undefined("infinite")
        return expression

    def _made(self, node: Node) -> Expr:
        match node:
            case Number(value, _):
                return Rational(value.numerator, value.denominator)
            case Symbol(name):
                return self.symbol(name)
            case Constant(name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case Sum(terms):
                return Add(*map(self._built, terms))
            case Product(factors):
                return Mul(*map(self._built, factors))
            case Quotient(top, bottom):
                divisor = self._built(bottom)
                if divisor.is_zero:
                    raise Undefined("division by zero")
                return self._built(top) / divisor
            case Power(base, exponent):
                return _power(self._built(base), self._built(exponent))
            case Call(name, arguments):
                return self.call(name, tuple(map(self._built, arguments)))
        raise Undefined(f"{type(node).__name__} is no expression")


def _power(base: Expr, exponent: Expr) -> Expr:
    if base.is_zero and not exponent.is_positive:
        raise Undefined("nought to a power that may be nought")
    evaluate = True
    if isinstance(base, Rational) and isinstance(exponent, Rational):
        bits = int(base.p).bit_length() + int(base.q).bit_length()
        if isinstance(exponent, Integer):
            evaluate = abs(int(exponent)) * bits <= limits.INTEGER_BITS
        else:
            evaluate = bits <= _ROOT_BITS and max(abs(int(exponent.p)), int(exponent.q)) <= limits.FACTORIAL
    return Pow(base, exponent, evaluate=evaluate)
