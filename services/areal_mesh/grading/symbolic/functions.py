"""Our functions as SymPy's, for exact expressions and for their values alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import sympy
from sympy import Expr, Integer, Rational, S

from areal_mesh.grading import limits

_FALLING_FACTORS: Final = 20
_LARGEST_INTEGER_BITS: Final = 64
_LARGEST_FACTORIAL: Final = 20_000


class Undefined(ArithmeticError):
    """There is no value."""


class Unbounded(ArithmeticError):
    """There may be a value, beyond what is worked out."""


NO_VALUE: Final = (ArithmeticError, ValueError, TypeError, NotImplementedError, AttributeError, RecursionError)
"""What SymPy raises where there is no value, or none that it can work out."""


def integers(values: tuple[Expr, ...]) -> list[int]:
    """Plain integers.

    Raises:
        Undefined: where a value is none, or a large one.
    """
    if not all(
        isinstance(value, Integer) and abs(int(value)).bit_length() <= _LARGEST_INTEGER_BITS for value in values
    ):
        raise Undefined("no integers")
    return [int(value) for value in values]


def root(radicand: Expr, degree: Expr) -> Expr:
    """The real root of a negative number where the degree is odd, the principal root otherwise."""
    if not (isinstance(degree, Integer) and 0 < int(degree) <= limits.FACTORIAL):
        raise Undefined("root of no whole degree, or a larger one than the bound")
    if int(degree) % 2 and radicand.is_negative:
        return -((-radicand) ** (S.One / degree))
    return radicand ** (S.One / degree)


def logarithm(value: Expr, base: Expr | None = None) -> Expr:
    if value.is_zero or (base is not None and (base.is_zero or base == 1)):
        raise Undefined("logarithm of nought or to a base of none")
    return sympy.log(value) if base is None else sympy.log(value) / sympy.log(base)


def factorial(value: Expr) -> Expr:
    if isinstance(value, Integer) and not 0 <= int(value) <= _LARGEST_FACTORIAL:
        raise Undefined("factorial below nought") if value.is_negative else Unbounded("factorial beyond the bound")
    return sympy.factorial(value)


def double_factorial(value: Expr) -> Expr:
    if isinstance(value, Integer):
        if not -1 <= int(value) <= _LARGEST_FACTORIAL:
            raise Undefined("double factorial below nought, or beyond the bound")
        return Integer(math.prod(range(int(value), 0, -2)))
    if value.is_number:
        raise Undefined("double factorial of no integer")
    return sympy.factorial2(value)


def binomial(upper: Expr, lower: Expr) -> Expr:
    """Of whole numbers exactly, of others by its factors or by the gamma function."""
    if isinstance(upper, Integer) and isinstance(lower, Integer) and upper >= 0 and lower >= 0:
        if int(upper) > _LARGEST_FACTORIAL and min(int(lower), abs(int(upper) - int(lower))) > _FALLING_FACTORS:
            raise Unbounded("binomial beyond the bound")
        return Integer(math.comb(int(upper), int(lower)))
    if isinstance(lower, Integer) and 0 <= int(lower) <= _FALLING_FACTORS:
        return sympy.Mul(*((upper - at) / (at + 1) for at in range(int(lower))))
    return sympy.binomial(upper, lower)


def unknown(name: str, arguments: tuple[Expr, ...]) -> Expr:
    """A fixed function without identities, which stands for one that nothing is known of."""
    digest = blake2b(name.encode(), digest_size=2 * len(arguments) + 2).digest()
    terms = [
        sympy.sin(argument * Rational(61 + digest[2 * at], 100) + Rational(digest[2 * at + 1], 100)) * (at + 1)
        for at, argument in enumerate(arguments)
    ]
    return sympy.Add(*terms, *(argument**2 / 7 for argument in arguments), Rational(digest[-1], 100))


def _common(function: Callable[..., int]) -> Callable[..., Expr]:
    return lambda *values: Integer(function(*integers(values)))


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "arccot": lambda x: S.Pi / 2 - sympy.atan(x),
    "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "coth": sympy.coth,
    "arcsinh": sympy.asinh, "arccosh": sympy.acosh, "arctanh": sympy.atanh,
    "sech": sympy.sech, "csch": sympy.csch, "abs": sympy.Abs, "Re": sympy.re, "Im": sympy.im,
    "conjugate": sympy.conjugate, "floor": sympy.floor, "ceiling": sympy.ceiling, "max": sympy.Max, "min": sympy.Min,
    "percent": lambda x: x / 100, "degree": lambda x: x * S.Pi / 180, "root": root, "log": logarithm,
    "factorial": factorial, "double factorial": double_factorial, "binomial": binomial,
    "gcd": _common(math.gcd), "lcm": _common(math.lcm),
}  # fmt: skip
