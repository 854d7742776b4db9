"""Values of scalars to any number of digits, by mpmath.

mpmath is SymPy's arithmetic; SymPy's expressions are not used, because what they do to themselves while they are built
has no bound. Every value on the way is zero or far from it: a sum that is lost in its terms is zero where nothing is
left of it, and has no value where little is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Final

from mpmath import MPContext

from areal_mesh.grading import limits
from areal_mesh.grading.equality import samples
from areal_mesh.grading.trees.nodes import (
    Call,
    Constant,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
    symbols,
)
from areal_mesh.grading.trees.rationals import common_multiple

MP: Final = MPContext()
"""The arithmetic, whose digits the caller sets."""
_SPARE_BITS: Final = 100
"""Of rounding: a sum that is smaller than its terms by all bits but these is zero."""
_NEAR_BITS: Final = 50
"""Of what is left of a number beside an integer, which is taken for rounding."""
_BITS: Final = 20_000
"""Of a value before its point, or of noughts after it."""
_LARGEST_LOGARITHM: Final = 10_000
_LARGEST_ROUNDED: Final = 10**15
_FALLING_FACTORS: Final = 20
_HYPERBOLIC: Final = frozenset({"sinh", "cosh", "tanh", "coth"})
_LARGEST_HYPERBOLIC: Final = 100
"""A hyperbolic tangent differs from one by 1e-87 there."""


class Unsupported(ArithmeticError):
    """There is no bounded way to evaluate this, or no value."""


class Point:
    """Evaluates scalars at a sample point, to the context's digits."""

    def __init__(self, index: int, share_bits: int) -> None:
        self._index = index
        self._share_bits = share_bits

    def value(self, node: Node) -> Any:
        """The value of a node: an mpf, or an mpc that is not real.

        Raises:
            ArithmeticError, ValueError: if it has none within the bounds.
        """
        value = self._settled(self._evaluated(node))
        if value != 0 and abs(MP.mag(value)) > _BITS:
            raise Unsupported("a value larger than the bound, or smaller")
        return value

    def _evaluated(self, node: Node) -> Any:
        match node:
            case Number(value, _):
                return self._bounded(MP.mpf(value.numerator) / value.denominator)
            case Symbol(name):
                return MP.mpf(samples.sample(name, self._index))
            case Constant(name):
                return _constant(name)
            case Sum(terms):
                return self._total([self.value(term) for term in terms])
            case Product(factors):
                return reduce(lambda left, right: left * right, map(self.value, factors))
            case Quotient(top, bottom):
                divisor = self.value(bottom)
                if divisor == 0:
                    raise Unsupported("division by zero")
                return self.value(top) / divisor
            case Power(base, exponent):
                return self._power(base, exponent)
            case Call(name, arguments):
                return self._call(name, [self.value(argument) for argument in arguments])
        raise Unsupported(type(node).__name__)

    def _power(self, base: Node, exponent: Node) -> Any:
        below, above = self.value(base), self._bounded(self.value(exponent))
        if below == 0:
            if symbols(exponent) or not (is_real(above) and above > 0):
                raise Unsupported("nought to a power that may be nought")
            return below
        if is_real(above) and MP.isint(above) and abs(above) * (abs(MP.mag(below)) + 1) <= _BITS:
            return below ** int(above)
        if above == MP.mpf(0.5):
            return MP.sqrt(self._bounded(below))
        logarithm = above * MP.log(self._bounded(below))
        if abs(logarithm) > _LARGEST_LOGARITHM:
            raise Unsupported("power larger than the bound")
        return MP.exp(logarithm)

    def _call(self, name: str, arguments: list[Any]) -> Any:
        first = arguments[0]
        if name == "root":
            return _root(self._bounded(first), arguments[1])
        if name == "log":
            logarithms = [self._settled(MP.log(self._bounded(value)), 1) for value in arguments]
            return logarithms[0] if len(arguments) == 1 else logarithms[0] / logarithms[1]
        if name in _OF_REALS and not all(map(is_real, arguments)):
            raise Unsupported(f"{name} of a complex number")
        if name in _OF_ANY_SIZE:
            return _OF_ANY_SIZE[name](*arguments)
        if name not in _ANALYTIC:
            raise Unsupported(name)
        if name in _HYPERBOLIC and abs(first) > _LARGEST_HYPERBOLIC:
            raise Unsupported(f"{name} of more than the bound")
        value = _ANALYTIC[name](self._bounded(first))
        return self._settled(value, 1)

    def _bounded(self, value: Any) -> Any:
        """A value that is zero, or neither tiny nor huge."""
        if value != 0 and abs(MP.mag(value)) > self._share_bits:
            raise Unsupported("a number that is tiny or huge")
        return value

    def _settled(self, value: Any, scale: int | None = None) -> Any:
        """A value with each part zero or far from it, beside the whole or what has `scale` bits before its point."""
        if not MP.isfinite(value):
            raise Unsupported("no finite value")
        if scale is None and is_real(value):
            return value
        if value == 0:
            return MP.mpf(0)
        scale = max(MP.mag(value), MP.mag(value) if scale is None else scale)
        if is_real(value):
            return self._part(value, scale)
        real, imaginary = self._part(value.real, scale), self._part(value.imag, scale)
        return MP.mpc(real, imaginary) if imaginary else real

    def _part(self, value: Any, scale: int) -> Any:
        if value == 0 or MP.mag(value) < scale - MP.prec + _SPARE_BITS:
            return MP.mpf(0)
        if MP.mag(value) < scale - self._share_bits:
            raise Unsupported("a value too small beside another to be told from nothing")
        return value

    def _total(self, terms: Sequence[Any]) -> Any:
        sizes = [MP.mag(term) for term in terms if term != 0]
        if not sizes:
            return MP.mpf(0)
        if min(sizes) < max(sizes) - self._share_bits:
            raise Unsupported("a term too small beside another to be told from nothing")
        return self._settled(MP.fsum(terms), max(sizes))


def _constant(name: str) -> Any:
    return {"pi": +MP.pi, "e": +MP.e, "i": MP.j}[name]


def is_real(value: Any) -> bool:
    return not isinstance(value, MP.mpc)


def _root(radicand: Any, degree: Any) -> Any:
    if not (is_real(degree) and MP.isint(degree) and 0 < degree <= limits.FACTORIAL):
        raise Unsupported("root of no whole degree, or a larger one than the bound")
    order = int(degree)
    if is_real(radicand) and radicand < 0 and order % 2:
        return -MP.root(-radicand, order)
    return MP.root(radicand, order)


def _factorial(value: Any) -> Any:
    _bound_factorials(value)
    return MP.mpf(math.factorial(int(value))) if MP.isint(value) else MP.gamma(value + 1)


def _binomial(upper: Any, lower: Any) -> Any:
    """Of whole numbers exactly, of others by the gamma function."""
    _bound_factorials(upper, lower)
    if MP.isint(upper) and MP.isint(lower) and upper >= 0 and lower >= 0:
        return MP.mpf(math.comb(int(upper), int(lower)))
    if MP.isint(lower) and 0 <= lower <= _FALLING_FACTORS:
        factors = [(upper - at) / (at + 1) for at in range(int(lower))]
        return reduce(lambda left, right: left * right, factors, MP.mpf(1))
    return MP.binomial(upper, lower)


def _bound_factorials(*values: Any) -> None:
    if any(abs(value) > limits.FACTORIAL for value in values):
        raise Unsupported("a factorial of more than the bound")


def _rounded(value: Any, down: bool) -> Any:
    if abs(value) >= _LARGEST_ROUNDED:
        raise Unsupported("a rounded number larger than the bound")
    nearest = MP.nint(value)
    if value == nearest or MP.mag(value - nearest) < -_NEAR_BITS:
        return nearest
    return MP.floor(value) if down else MP.ceil(value)


def _integers(values: Sequence[Any]) -> list[int]:
    if not all(MP.isint(value) and abs(value) < _LARGEST_ROUNDED for value in values):
        raise Unsupported("no integers")
    return [int(value) for value in values]


def _generic(scale: int, shift: int) -> Callable[[Any], Any]:
    return lambda x: MP.sin(MP.mpf(scale) / 100 * x + MP.mpf(shift) / 100) + x * x / 7


_OF_REALS: Final = frozenset({"floor", "ceiling", "max", "min", "gcd", "lcm", "factorial", "binomial"})
_OF_ANY_SIZE: Final[dict[str, Callable[..., Any]]] = {
    "percent": lambda x: x / 100, "degree": lambda x: x * MP.pi / 180, "abs": abs, "Re": MP.re, "Im": MP.im,
    "floor": lambda x: _rounded(x, True), "ceiling": lambda x: _rounded(x, False), "max": max, "min": min,
    "gcd": lambda *values: MP.mpf(math.gcd(*_integers(values))),
    "lcm": lambda *values: MP.mpf(common_multiple(_integers(values))),
    "factorial": _factorial, "binomial": _binomial,
}  # fmt: skip
_ANALYTIC: Final[dict[str, Callable[[Any], Any]]] = {
    "sin": MP.sin, "cos": MP.cos, "tan": MP.tan, "cot": MP.cot, "sec": MP.sec, "csc": MP.csc,
    "arcsin": MP.asin, "arccos": MP.acos, "arctan": MP.atan, "arccot": lambda x: MP.pi / 2 - MP.atan(x),
    "sinh": MP.sinh, "cosh": MP.cosh, "tanh": MP.tanh, "coth": MP.coth,
    "f": _generic(83, 31), "g": _generic(57, 77), "F": _generic(71, 13), "G": _generic(93, 49),
    "prime": _generic(37, 91),
}  # fmt: skip
"""Functions that may bring any value near nothing: they are taken of what is neither tiny nor huge."""
