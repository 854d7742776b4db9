r"""Exact normal forms of scalars: rationals, radicals, powers of constants, polynomials and rational functions.

A scalar becomes a quotient of two polynomials, each a mapping from monomials to rationals. A monomial's bases
are primes (with exponents in [0, 1)), the imaginary unit, constants, symbols, and whole subexpressions that this
form cannot look into, each with a rational exponent. Equal forms prove that two scalars are equal, where roots
of symbols are taken at positive values. Unequal forms prove nothing unless both are plain rationals.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final, TypeAlias

from areal_mesh.verifier import limits
from areal_mesh.verifier.nodes import Call, Constant, Node, Number, Power, Product, Quotient, Sum, Symbol
from areal_mesh.verifier.rationals import Inexact, bounded, integer_power, prime_factors, rational_value

Base: TypeAlias = int | str
Monomial: TypeAlias = tuple[tuple[Base, Fraction], ...]
Polynomial: TypeAlias = dict[Monomial, Fraction]
Form: TypeAlias = tuple[Polynomial, Polynomial]

_ONE: Final[Polynomial] = {(): Fraction(1)}


def equal(left: Node, right: Node) -> bool:
    """Whether the normal forms prove two scalars equal.

    Raises:
        Inexact: if either has no normal form within the bounds.
    """
    top, bottom = form(left)
    other_top, other_bottom = form(right)
    if bottom == other_bottom:
        return top == other_top
    return _multiply(top, other_bottom) == _multiply(other_top, bottom)


def proportional(left: Node, right: Node) -> Fraction | None:
    """The rational c with `left = c * right`, where the forms prove one that is not zero.

    Raises:
        Inexact: if either has no normal form within the bounds.
    """
    top, bottom = form(left)
    other_top, other_bottom = form(right)
    first, second = _multiply(top, other_bottom), _multiply(other_top, bottom)
    if not first or first.keys() != second.keys():
        return None
    key = next(iter(first))
    factor = first[key] / second[key]
    return factor if all(first[key] == factor * second[key] for key in first) else None


def form(node: Node) -> Form:
    """The normal form of a scalar.

    Raises:
        Inexact: if it has none within the bounds.
    """
    try:
        return _form(node)
    except ZeroDivisionError as error:
        raise Inexact("division by zero") from error


def _form(node: Node) -> Form:
    value = rational_value(node)
    if value is not None:
        return {(): value} if value else {}, _ONE
    if isinstance(node, Symbol):
        return {((node.name, Fraction(1)),): Fraction(1)}, _ONE
    if isinstance(node, Constant):
        if node.name == "infinity":
            raise Inexact("infinity")
        return {(("\0" + node.name, Fraction(1)),): Fraction(1)}, _ONE
    if isinstance(node, Sum):
        total: Form = ({}, _ONE)
        for term in node.terms:
            total = _add(total, _form(term))
        return total
    if isinstance(node, Product):
        product: Form = (_ONE, _ONE)
        for factor in node.factors:
            top, bottom = _form(factor)
            product = (_multiply(product[0], top), _multiply(product[1], bottom))
        return product
    if isinstance(node, Quotient):
        top, bottom = _form(node.numerator)
        other_top, other_bottom = _form(node.denominator)
        return _divide((_multiply(top, other_bottom), _multiply(bottom, other_top)))
    if isinstance(node, Power):
        return _power(node)
    if isinstance(node, Call):
        return _call(node)
    raise Inexact(f"{type(node).__name__} has no normal form")


def _divide(form: Form) -> Form:
    """With a denominator of one term moved into the numerator."""
    top, bottom = form
    if not bottom:
        raise ZeroDivisionError
    if len(bottom) > 1:
        return form
    ((monomial, coefficient),) = bottom.items()
    inverse = _monomial_power(monomial, 1 / coefficient, Fraction(-1))
    return _multiply(top, inverse), _ONE


def _add(left: Form, right: Form) -> Form:
    if left[1] == right[1]:
        return _sum(left[0], right[0]), left[1]
    return (
        _sum(_multiply(left[0], right[1]), _multiply(right[0], left[1])),
        _multiply(left[1], right[1]),
    )


def _sum(left: Polynomial, right: Polynomial) -> Polynomial:
    total = dict(left)
    for monomial, coefficient in right.items():
        value = bounded(total.get(monomial, Fraction(0)) + coefficient)
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    if len(total) > limits.EXPAND_TERMS:
        raise Inexact("more terms than the bound")
    return total


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    if left is _ONE:
        return right
    if right is _ONE:
        return left
    if len(left) * len(right) > 8 * limits.EXPAND_TERMS:
        raise Inexact("more terms than the bound")
    total: Polynomial = {}
    for monomial, coefficient in left.items():
        for other, factor in right.items():
            merged, carried = _merge(monomial, other)
            value = total.get(merged, Fraction(0)) + bounded(coefficient * factor * carried)
            if value:
                total[merged] = value
            else:
                total.pop(merged, None)
    if len(total) > limits.EXPAND_TERMS:
        raise Inexact("more terms than the bound")
    return total


def _merge(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, with what became rational."""
    if not left:
        return right, Fraction(1)
    if not right:
        return left, Fraction(1)
    exponents = dict(left)
    for base, exponent in right:
        exponents[base] = exponents.get(base, Fraction(0)) + exponent
    return _normalised(exponents)


def _normalised(exponents: dict[Base, Fraction]) -> tuple[Monomial, Fraction]:
    carried = Fraction(1)
    kept: list[tuple[Base, Fraction]] = []
    for base, exponent in exponents.items():
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


def _monomial_power(monomial: Monomial, coefficient: Fraction, exponent: Fraction) -> Polynomial:
    """(coefficient * monomial)^exponent, for an exponent that is rational, of a coefficient that is inverted
    beforehand where the exponent is negative."""
    exponents = {base: power * exponent for base, power in monomial}
    merged, carried = _normalised(exponents)
    return {merged: bounded(carried * coefficient)}


def _power(node: Power) -> Form:
    exponent = rational_value(node.exponent)
    if exponent is None:
        return _symbolic_power(node)
    top, bottom = _form(node.base)
    if exponent.denominator == 1:
        return _repeated(top, bottom, exponent.numerator)
    if bottom is not _ONE and bottom != _ONE:
        raise Inexact("root of a quotient")
    if len(top) != 1:
        return _opaque(f"({_key((top, bottom))})", exponent)
    ((monomial, coefficient),) = top.items()
    if any(base == "\0i" for base, _ in monomial):
        raise Inexact("root of the imaginary unit")
    exponents: dict[Base, Fraction] = {base: power * exponent for base, power in monomial}
    for base, power in _factored(coefficient, exponent).items():
        exponents[base] = exponents.get(base, Fraction(0)) + power
    merged, carried = _normalised(exponents)
    return {merged: carried}, _ONE


def _factored(value: Fraction, exponent: Fraction) -> dict[Base, Fraction]:
    """value^exponent as powers of primes, of unfactored integers, and of the imaginary unit."""
    result: dict[Base, Fraction] = {}
    if value < 0:
        if exponent.denominator != 2:
            raise Inexact("root of a negative number")
        result["\0i"] = 2 * exponent
        value = -value
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, count in prime_factors(number).items():
            result[prime] = result.get(prime, Fraction(0)) + sign * count * exponent
    return result


def _repeated(top: Polynomial, bottom: Polynomial, exponent: int) -> Form:
    if exponent < 0:
        top, bottom = bottom, top
        if not bottom:
            raise ZeroDivisionError
    count = abs(exponent)
    return _divide((_polynomial_power(top, count), _polynomial_power(bottom, count)))


def _polynomial_power(polynomial: Polynomial, exponent: int) -> Polynomial:
    if polynomial is _ONE or not polynomial:
        return polynomial if exponent else _ONE
    if len(polynomial) == 1:
        ((monomial, coefficient),) = polynomial.items()
        return _monomial_power(monomial, integer_power(coefficient, exponent), Fraction(exponent))
    if exponent > limits.EXPAND_POWER:
        raise Inexact("power of a sum larger than the bound")
    result = _ONE
    for _ in range(exponent):
        result = _multiply(result, polynomial)
    return result


def _symbolic_power(node: Power) -> Form:
    """a^(p x + q) as (a^x)^p times a^q, for a positive rational or a constant or symbol a."""
    exponent_top, exponent_bottom = _form(node.exponent)
    if exponent_bottom != _ONE:
        return _opaque(f"{_key(_form(node.base))}^{_key((exponent_top, exponent_bottom))}", Fraction(1))
    top, bottom = _form(node.base)
    if bottom != _ONE or len(top) != 1:
        return _opaque(f"{_key((top, bottom))}^{_key((exponent_top, exponent_bottom))}", Fraction(1))
    ((monomial, coefficient),) = top.items()
    if coefficient <= 0:
        raise Inexact("symbolic power of a negative number")
    bases: dict[Base, Fraction] = dict(monomial)
    bases.update(_factored(coefficient, Fraction(1)))
    exponents: dict[Base, Fraction] = {}
    for base, power in bases.items():
        for term, factor in exponent_top.items():
            name: Base = base if not term else f"{base}^[{_key_monomial(term)}]"
            exponents[name] = exponents.get(name, Fraction(0)) + power * factor
    merged, carried = _normalised(exponents)
    return {merged: carried}, _ONE


def _call(node: Call) -> Form:
    name = node.function
    if name == "percent":
        return _form(Quotient(node.arguments[0], Number(Fraction(100))))
    if name == "degree":
        return _form(Quotient(Product((node.arguments[0], Constant("pi"))), Number(Fraction(180))))
    if name == "root":
        degree = rational_value(node.arguments[1])
        if degree is None or degree.denominator != 1 or degree <= 0:
            raise Inexact("root of no whole degree")
        radicand = rational_value(node.arguments[0])
        if radicand is not None and radicand < 0 and degree.numerator % 2:
            positive = _power(Power(Number(-radicand), Number(1 / degree)))
            return {key: -value for key, value in positive[0].items()}, positive[1]
        return _power(Power(node.arguments[0], Number(1 / degree)))
    if name == "log":
        return _logarithm(node)
    if name == "factorial":
        raise Inexact("factorial of no small integer")
    return _opaque(f"{name}({','.join(_key(_form(argument)) for argument in node.arguments)})", Fraction(1))


def _logarithm(node: Call) -> Form:
    """log of a positive rational as a sum over its factors."""
    value = rational_value(node.arguments[0])
    if value is not None and value > 0:
        polynomial: Polynomial = {}
        for base, count in _factored(value, Fraction(1)).items():
            polynomial[((f"log {base}", Fraction(1)),)] = count
        top: Form = (polynomial, _ONE)
    else:
        top = _opaque(f"log({_key(_form(node.arguments[0]))})", Fraction(1))
    if len(node.arguments) == 1:
        return top
    bottom = _logarithm(Call("log", node.arguments[1:]))
    return _divide((_multiply(top[0], bottom[1]), _multiply(top[1], bottom[0])))


def _opaque(name: str, exponent: Fraction) -> Form:
    return {((name, exponent),): Fraction(1)}, _ONE


def _key_monomial(monomial: Monomial) -> str:
    return "*".join(f"{base}^{exponent}" for base, exponent in monomial)


def _key(form: Form) -> str:
    sides = (
        "+".join(sorted(f"{coefficient}*{_key_monomial(monomial)}" for monomial, coefficient in side.items()))
        for side in form
    )
    key = "/".join(sides)
    if len(key) > limits.ANSWER_CHARS:
        raise Inexact("expression longer than the bound")
    return key
