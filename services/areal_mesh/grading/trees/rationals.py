"""Values of scalars that are rational by arithmetic alone, within the bounds on integers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

from areal_mesh.grading import limits
from areal_mesh.grading.trees.nodes import Call, Node, Number, Power, Product, Quotient, Sum


class Inexact(ArithmeticError):
    """The scalar is rational beyond the bounds, or not at all."""


def rational(node: Node) -> Fraction | None:
    """The value of a scalar that is rational by arithmetic alone; None where it is not, or exceeds a bound."""
    try:
        return rational_value(node)
    except (Inexact, ZeroDivisionError):
        return None


def bounded(value: Fraction) -> Fraction:
    """The value.

    Raises:
        Inexact: if it is larger than the bound on integers.
    """
    if value.numerator.bit_length() + value.denominator.bit_length() > limits.INTEGER_BITS:
        raise Inexact("integer larger than the bound")
    return value


def integer_power(value: Fraction, exponent: int) -> Fraction:
    """value^exponent, refused before it is computed where it would exceed the bound."""
    if value == 0 and exponent <= 0:
        raise Inexact("nought to the power of nought")
    bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    if bits > 1 and bits * abs(exponent) > limits.INTEGER_BITS:
        raise Inexact("power larger than the bound")
    return value**exponent


def common_multiple(integers: Iterable[int]) -> int:
    """The least common multiple.

    Raises:
        Inexact: as soon as it is larger than the bound on integers.
    """
    multiple = 1
    for integer in integers:
        multiple = math.lcm(multiple, integer)
        if multiple.bit_length() > limits.INTEGER_BITS:
            raise Inexact("common multiple larger than the bound")
    return multiple


def rational_value(node: Node) -> Fraction | None:
    """As `rational`.

    Raises:
        Inexact: beyond a bound.
        ZeroDivisionError: for a division by zero.
    """
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Sum):
        total = Fraction(0)
        for term in node.terms:
            value = rational_value(term)
            if value is None:
                return None
            total = bounded(total + value)
        return total
    if isinstance(node, Product):
        product = Fraction(1)
        for factor in node.factors:
            value = rational_value(factor)
            if value is None:
                return None
            product = bounded(product * value)
        return product
    if isinstance(node, Quotient):
        top, bottom = rational_value(node.numerator), rational_value(node.denominator)
        return None if top is None or bottom is None else bounded(top / bottom)
    if isinstance(node, Power):
        base, exponent = rational_value(node.base), rational_value(node.exponent)
        if base is None or exponent is None or exponent.denominator != 1:
            return None
        return integer_power(base, exponent.numerator)
    if isinstance(node, Call):
        return _rational_call(node)
    return None


def _rational_call(node: Call) -> Fraction | None:
    values = [rational_value(argument) for argument in node.arguments]
    if any(value is None for value in values):
        return None
    arguments = [value for value in values if value is not None]
    name, first = node.function, arguments[0]
    if name == "percent":
        return first / 100
    if name == "abs":
        return abs(first)
    if name in ("floor", "ceiling"):
        return Fraction(math.floor(first) if name == "floor" else math.ceil(first))
    if name in ("max", "min"):
        return max(arguments) if name == "max" else min(arguments)
    if any(value.denominator != 1 for value in arguments):
        return None
    integers = [value.numerator for value in arguments]
    if name == "factorial" and 0 <= integers[0] <= limits.FACTORIAL:
        return bounded(Fraction(math.factorial(integers[0])))
    if name == "double factorial" and 0 <= integers[0] <= limits.FACTORIAL:
        return bounded(Fraction(math.prod(range(integers[0], 0, -2))))
    if name == "binomial" and len(integers) == 2 and min(integers) >= 0 and _is_small_binomial(*integers):
        return bounded(Fraction(math.comb(*integers)))
    if name in ("gcd", "lcm"):
        if name == "gcd":
            return Fraction(math.gcd(*integers))
        return Fraction(common_multiple(integers))
    return None


def _is_small_binomial(upper: int, lower: int) -> bool:
    return upper <= limits.FACTORIAL or (upper < 10**12 and min(lower, upper - lower) <= 32)
