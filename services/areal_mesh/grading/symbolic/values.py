"""Values of scalars to more than a thousand digits: SymPy's numbers, node by node.

What has a value of its own kind (a sum, a root) is worked out from the values of its parts, so that nothing simplifies
itself: cancellation cannot hide that a part has no value. Each sum and each function spends the bits by which it may
bring a difference nearer to nothing, from an allowance below the precision: two scalars that agree within it agree to
the last digit that anything in them can reach.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from sympy import Add, Expr, Float, I, Integer, Mul, Pow, Rational, S, im, integer_nthroot, pi, re
from sympy import E as EULER

from areal_mesh.grading import limits
from areal_mesh.grading.equality import samples
from areal_mesh.grading.symbolic.functions import FUNCTIONS, Unbounded, Undefined, integers, unknown
from areal_mesh.grading.trees.nodes import (
    Bound,
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
from areal_mesh.grading.trees.rewriting import replaced

BITS: Final = (700, 4_096)
"""Of every number: few at first, many where few do not suffice. The gamma function takes seconds for many."""
_SPARE_BITS: Final = 100
"""Of rounding."""
_NEAR_BITS: Final = 50
"""Of what is left of a number beside an integer, which is taken for rounding."""
_EXACT_BITS: Final = 300_000
"""Of a fraction that stays exact: 20000! is one."""
_SHORT_BITS: Final = 64
_TERMS: Final = 100
_LARGEST_EXPONENT: Final = 2_000
"""Bits of the logarithm of a value."""
_HYPERBOLIC: Final = frozenset({"sinh", "cosh", "tanh", "coth", "sech", "csch"})
_OF_REALS: Final = frozenset({"floor", "ceiling", "max", "min", "gcd", "lcm", "factorial", "binomial"})
_OF_ANY_SIZE: Final = frozenset(
    {"percent", "degree", "abs", "Re", "Im", "conjugate", "floor", "ceiling", "max", "min", "gcd", "lcm", "factorial"}
) | {"double factorial", "binomial"}
_CONSTANTS: Final = {"pi": pi, "e": EULER, "i": I}


class Point:
    """Evaluates scalars at one sample point.

    Half of the bits may be spent; what is smaller than its neighbour by more than that half is nothing but rounding.
    """

    def __init__(self, index: int, bits: int) -> None:
        self.bits = bits
        self._digits = int(bits * math.log10(2))
        self._index = index
        self._half = bits // 2
        self._left = self._half - _SPARE_BITS

    def value(self, node: Node) -> Expr:
        """The value of a scalar: a number of SymPy's, or a real and an imaginary one.

        Raises:
            Undefined: if it has none.
            Unbounded: if it is out of reach.
        """
        value = self._plain(self._evaluated(node))
        if abs(size(value)).bit_length() > _LARGEST_EXPONENT:
            raise Unbounded("a value larger than the bound, or smaller")
        return value

    def agree(self, left: Expr, right: Expr) -> bool:
        """Whether two values are one, to the digits that were worked out."""
        if isinstance(left, Rational) and isinstance(right, Rational):
            return bool(left == right)
        difference = self._plain(left - right)
        return bool(difference == 0) or size(difference) < max(size(left), size(right)) - self._half

    def _evaluated(self, node: Node) -> Expr:
        match node:
            case Number(value, _):
                return Rational(value.numerator, value.denominator)
            case Symbol(name):
                sample = Rational(samples.sample(name, self._index))
                return sample if isinstance(sample, Integer) else self._float(sample)
            case Constant(name) if name in _CONSTANTS:
                return _CONSTANTS[name]
            case Sum(terms):
                return self._total([self.value(term) for term in terms])
            case Product(factors):
                return Mul(*(self.value(factor) for factor in factors))
            case Quotient(top, bottom):
                divisor = self.value(bottom)
                if divisor == 0:
                    raise Undefined("division by zero")
                return self.value(top) / divisor
            case Power(base, exponent):
                return self._power(base, exponent)
            case Call(name, arguments):
                return self._call(name, tuple(map(self.value, arguments)))
            case Bound("sum" | "prod" as operator, letter, bounds, body):
                first, last = integers(tuple(map(self.value, bounds)))
                if last - first >= _TERMS:
                    raise Unbounded("more terms than are added up")
                parts = tuple(replaced(body, letter, Number(Fraction(at))) for at in range(first, last + 1))
                return self._evaluated(Sum(parts) if operator == "sum" else Product(parts))
        raise Undefined(type(node).__name__)

    def _plain(self, value: Expr) -> Expr:
        """A number: exact where it is a short fraction, else with `bits` bits; each part nought or far from it."""
        if isinstance(value, Rational) and value.is_finite:
            return value if _length(value) <= _EXACT_BITS else self._float(value)
        if not isinstance(value, Float):
            value = value.evalf(self._digits)
        if value.is_finite is not True:
            raise Undefined("no finite value")
        if isinstance(value, Float):
            return value
        real, imaginary = re(value), im(value)
        if not (isinstance(real, Rational | Float) and isinstance(imaginary, Rational | Float)):
            raise Undefined("no number")
        largest = max(size(part) for part in (real, imaginary) if part != 0)
        return self._part(real, largest) + self._part(imaginary, largest) * I

    def _part(self, value: Expr, scale: int) -> Expr:
        """A part of a number that has `scale` bits before its point: nought where it is nothing but rounding."""
        if value == 0 or size(value) < scale - self._half:
            return S.Zero
        self._spend(scale - size(value))
        return value

    def _float(self, value: Expr) -> Float:
        # Digits beyond those of a number may be all that tells a long fraction from a short one.
        self._spend(max(0, _length(value) - _SHORT_BITS) if isinstance(value, Rational) else 0)
        return value.evalf(self._digits)

    def _spend(self, bits: int) -> None:
        self._left -= bits
        if self._left < 0:
            raise Unbounded("a value too small beside another to be told from nothing")

    def _total(self, terms: Sequence[Expr]) -> Expr:
        total = self._plain(Add(*terms))
        sizes = [size(term) for term in terms if term != 0]
        if isinstance(total, Rational) or not sizes:
            return total
        self._spend(max(sizes) - min(sizes))
        return self._part(total, max(sizes)) if total.is_real else total

    def _power(self, base: Node, exponent: Node) -> Expr:
        below, above = self.value(base), self.value(exponent)
        if below == 0:
            if symbols(exponent) or not above.is_positive:
                raise Undefined("nought to a power that may be nought")
            return S.Zero
        if isinstance(above, Integer):
            self._spend(max(0, size(above) - 40))
            exact = isinstance(below, Rational) and abs(int(above)) * (abs(size(below)) + 1) <= _EXACT_BITS
            return Pow(below if exact or not below.is_real else self._float(below), above)
        root = _exact_root(below, above) if isinstance(above, Rational) else None
        if root is not None:
            return root
        self._spend(2 * abs(size(above)))
        if size(above) + abs(size(below)).bit_length() > _LARGEST_EXPONENT:
            raise Unbounded("a power larger than the bound")
        return Pow(self._inexact(below), self._inexact(above))

    def _inexact(self, value: Expr) -> Expr:
        """With Float parts, so that SymPy has a number to work out and nothing to simplify."""
        if value.is_real:
            return self._float(value)
        return self._float(re(value)) + self._float(im(value)) * I

    def _call(self, name: str, arguments: tuple[Expr, ...]) -> Expr:
        if name == "root":
            self._spend(size(arguments[1]))
            return FUNCTIONS[name](self._inexact(arguments[0]), arguments[1])
        if name in _OF_REALS and not all(argument.is_real for argument in arguments):
            raise Undefined(f"{name} of a complex number")
        if name in ("floor", "ceiling"):
            return self._rounded(arguments[0], down=name == "floor")
        if name in ("factorial", "binomial") and self.bits > BITS[0] and not all(map(_is_whole, arguments)):
            raise Unbounded("a factorial of no integer, to more digits than it is worked out")
        if name in _OF_ANY_SIZE:
            return FUNCTIONS[name](*arguments)
        for argument in arguments:
            self._spend(3 * int(abs(argument)) if name in _HYPERBOLIC and size(argument) < 20 else 0)
            self._spend(2 * abs(size(argument)) if argument != 0 else 0)
        if name not in FUNCTIONS:
            return unknown(name, arguments)
        return self._settled(FUNCTIONS[name](*map(self._inexact, arguments)))

    def _settled(self, value: Expr) -> Expr:
        """The value of a function, which is nought where only rounding is left of it."""
        value = self._plain(value)
        return self._part(value, 1) if value.is_real and size(value) < 0 else value

    def _rounded(self, value: Expr, *, down: bool) -> Expr:
        if isinstance(value, Rational):
            return FUNCTIONS["floor" if down else "ceiling"](value)
        if size(value) > _NEAR_BITS:
            raise Unbounded("a rounded number larger than the bound")
        nearest = Integer(round(value))
        if value == nearest or size(value - nearest) < -_NEAR_BITS:
            return nearest
        return FUNCTIONS["floor" if down else "ceiling"](value)


def _exact_root(base: Expr, exponent: Rational) -> Rational | None:
    """The power of a fraction that is a fraction again; None where it is none, or too long."""
    if not isinstance(base, Rational) or not base.is_positive or exponent.p != 1 or _length(base) > limits.INTEGER_BITS:
        return None
    (top, exact), (bottom, also) = (integer_nthroot(int(part), int(exponent.q)) for part in (base.p, base.q))
    return Rational(top, bottom) if exact and also else None


def _length(value: Rational) -> int:
    return int(value.p).bit_length() + int(value.q).bit_length()


def _is_whole(value: Expr) -> bool:
    return isinstance(value, Integer)


def size(value: Expr) -> int:
    """The exponent of two above a number's modulus; 0 for nought."""
    if isinstance(value, Rational):
        return int(value.p).bit_length() - int(value.q).bit_length() + 1 if value != 0 else 0
    if isinstance(value, Float):
        _, mantissa, exponent, bits = value._mpf_
        return int(exponent + bits) if mantissa else 0
    return max(size(re(value)), size(im(value)))
