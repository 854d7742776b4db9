"""Which scalars speak of integers: what is equal at all of them is equal, whatever lies between."""

from __future__ import annotations

from typing import Final

from areal_mesh.grading.equality.kinks import is_kinked
from areal_mesh.grading.trees.nodes import Bound, Call, Node, Power, Product, Quotient, Sum, Symbol, children, symbols
from areal_mesh.grading.trees.rationals import rational

WHOLE_NAMES: Final = frozenset("jklmnpqrKMN")
"""Letters that usually name integers."""
_STEPS: Final = frozenset({"floor", "ceiling"})
_OF_INTEGERS: Final = frozenset({"factorial", "double factorial", "binomial", *_STEPS})
_LARGEST: Final = 20
"""Of the numbers beside such letters: what happens there is seen at the integers that are looked at, 1 to 41."""
_DEGREE: Final = 4


def speak_of_integers(left: Node, right: Node) -> bool:
    r"""Whether either scalar takes `n!`, `\lfloor n/2 \rfloor` or `(-1)^n` of a letter for an integer.

    Neither may have a kink that few integers would not show.
    """
    return (_takes_integers(left) or _takes_integers(right)) and _is_even(left) and _is_even(right)


def hides_kinks(node: Node) -> bool:
    """Whether a scalar has a kink where a factorial of letters is too large for the values of both to be compared."""
    return _has_jumps(node) and _takes_factorials(node)


def _has_jumps(node: Node) -> bool:
    return (isinstance(node, Call) and is_kinked(node) and bool(symbols(node))) or any(map(_has_jumps, children(node)))


def _takes_factorials(node: Node) -> bool:
    if isinstance(node, Call) and node.function in _OF_INTEGERS - _STEPS and symbols(node):
        return True
    return any(map(_takes_factorials, children(node)))


def _takes_integers(node: Node) -> bool:
    match node:
        case Call(function, arguments) if function in _OF_INTEGERS:
            names = frozenset[str]().union(*map(symbols, arguments))
            if names and names <= WHOLE_NAMES:
                return True
        case Bound("sum" | "prod", _, bounds, _):
            names = frozenset[str]().union(*map(symbols, bounds))
            if names and names <= WHOLE_NAMES:
                return True
        case Power(base, exponent):
            names = symbols(exponent)
            if names and names <= WHOLE_NAMES and not symbols(base) and (rational(base) or 0) < 0:
                return True
    return any(map(_takes_integers, children(node)))


def _is_even(node: Node) -> bool:
    """Whether the steps in a scalar are those of polynomials of integers, and nothing else in it has a kink."""
    if not symbols(node):
        return True
    match node:
        case Call(function, arguments) if function in _OF_INTEGERS:
            return all(map(_is_polynomial if function in _STEPS else _is_small, arguments))
        case Call("gcd" | "lcm", _):
            return False
        case Bound(_, _, bounds, body):
            return all(map(_is_small, bounds)) and _is_even(body)
        case Power(base, exponent) if symbols(exponent) and symbols(exponent) <= WHOLE_NAMES and _is_small(exponent):
            return _is_even(base)
    return not is_kinked(node) and all(map(_is_even, children(node)))


def _is_polynomial(node: Node) -> bool:
    """Whether a scalar is a polynomial of integers with small numbers in it."""
    value = rational(node)
    if value is not None:
        return max(abs(value.numerator), value.denominator) <= _LARGEST
    match node:
        case Symbol(name):
            return name in WHOLE_NAMES
        case Sum() | Product():
            return all(map(_is_polynomial, children(node)))
        case Quotient(top, bottom):
            return not symbols(bottom) and _is_polynomial(top) and _is_polynomial(bottom)
        case Power(base, exponent):
            degree = rational(exponent)
            return degree is not None and degree in range(1, _DEGREE + 1) and _is_polynomial(base)
        case _:
            return False


def _is_small(node: Node) -> bool:
    value = rational(node)
    if value is not None:
        return max(abs(value.numerator), value.denominator) <= _LARGEST
    return not is_kinked(node) and all(map(_is_small, children(node)))
