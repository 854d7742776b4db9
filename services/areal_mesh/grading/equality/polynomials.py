"""Polynomials whose monomials have rational exponents, within the bounds on terms and coefficients.

A polynomial is a mapping from monomials to rationals; a monomial is a sorted tuple of (base, exponent). Bases are
primes, with exponents in [0, 1), and names.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final, TypeAlias

from areal_mesh.grading import limits
from areal_mesh.grading.equality.allowance import spend
from areal_mesh.grading.trees.rationals import Inexact, bounded, integer_power

Base: TypeAlias = int | str
Monomial: TypeAlias = tuple[tuple[Base, Fraction], ...]
Polynomial: TypeAlias = dict[Monomial, Fraction]
ONE: Final[Polynomial] = {(): Fraction(1)}


def coefficient_within(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > limits.COEFFICIENT_BITS:
        raise Inexact("coefficient larger than the bound")
    return value


def added(left: Polynomial, right: Polynomial) -> Polynomial:
    spend(len(right))
    total = dict(left)
    for monomial, coefficient in right.items():
        value = coefficient_within(total.get(monomial, Fraction(0)) + coefficient)
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    if len(total) > limits.EXPAND_TERMS:
        raise Inexact("more terms than the bound")
    return total


def multiplied(left: Polynomial, right: Polynomial) -> Polynomial:
    if left is ONE:
        return right
    if right is ONE:
        return left
    if len(left) * len(right) > 8 * limits.EXPAND_TERMS:
        raise Inexact("more terms than the bound")
    spend(len(left) * len(right))
    total: Polynomial = {}
    for monomial, coefficient in left.items():
        for other, factor in right.items():
            merged, carried = merged_monomials(monomial, other)
            value = coefficient_within(total.get(merged, Fraction(0)) + coefficient * factor * carried)
            if value:
                total[merged] = value
            else:
                total.pop(merged, None)
    if len(total) > limits.EXPAND_TERMS:
        raise Inexact("more terms than the bound")
    return total


def merged_monomials(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, with what became rational."""
    if not left:
        return right, Fraction(1)
    if not right:
        return left, Fraction(1)
    exponents = dict(left)
    for base, exponent in right:
        exponents[base] = exponents.get(base, Fraction(0)) + exponent
    return normalised(exponents)


def normalised(exponents: dict[Base, Fraction]) -> tuple[Monomial, Fraction]:
    carried = Fraction(1)
    kept: list[tuple[Base, Fraction]] = []
    for base, exponent in exponents.items():
        coefficient_within(exponent)
        if isinstance(base, int):
            whole = math.floor(exponent)
            carried = bounded(carried * integer_power(Fraction(base), whole))
            exponent -= whole
        elif base == "\0i":
            if exponent.denominator != 1:
                raise Inexact("root of the imaginary unit")
            turns = exponent.numerator % 4
            carried = -carried if turns >= 2 else carried
            exponent = Fraction(turns % 2)
        if exponent:
            kept.append((base, exponent))
    kept.sort(key=lambda item: (isinstance(item[0], str), item[0]))
    return tuple(kept), carried


def monomial_power(monomial: Monomial, coefficient: Fraction, exponent: Fraction) -> Polynomial:
    """(coefficient * monomial)^exponent, for an exponent that is rational, of a coefficient that is inverted
    beforehand where the exponent is negative."""
    exponents = {base: power * exponent for base, power in monomial}
    merged, carried = normalised(exponents)
    return {merged: coefficient_within(carried * coefficient)}


def polynomial_power(polynomial: Polynomial, exponent: int) -> Polynomial:
    if polynomial is ONE or not polynomial:
        return polynomial if exponent else ONE
    if len(polynomial) == 1:
        ((monomial, coefficient),) = polynomial.items()
        return monomial_power(monomial, integer_power(coefficient, exponent), Fraction(exponent))
    if exponent > limits.EXPAND_POWER:
        raise Inexact("power of a sum larger than the bound")
    result = ONE
    for _ in range(exponent):
        result = multiplied(result, polynomial)
    return result
