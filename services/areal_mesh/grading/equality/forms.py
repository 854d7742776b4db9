r"""Exact normal forms of scalars: rationals, radicals, powers of constants, polynomials and rational functions.

A scalar becomes a quotient of two polynomials, each a mapping from monomials to rationals. A monomial's bases
are primes (with exponents in [0, 1)), the imaginary unit, constants, symbols, and whole subexpressions that this
form cannot look into, each with a rational exponent. Roots of symbols are taken at positive values.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, TypeAlias

from areal_mesh.grading import limits
from areal_mesh.grading.equality.polynomials import (
    ONE,
    Base,
    Monomial,
    Polynomial,
    added,
    coefficient_within,
    monomial_power,
    multiplied,
    normalised,
    polynomial_power,
)
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
)
from areal_mesh.grading.trees.rationals import Inexact, prime_factors, rational_value

_BY_SINE_AND_COSINE: Final = {
    "tan": ("sin", "cos"), "cot": ("cos", "sin"), "sec": ("", "cos"), "csc": ("", "sin"),
}  # fmt: skip
Form: TypeAlias = tuple[Polynomial, Polynomial]


def form(node: Node) -> Form:
    """The normal form of a scalar.

    Raises:
        Inexact: if it has none within the bounds.
    """
    try:
        top, bottom = _form(node)
    except ZeroDivisionError as error:
        raise Inexact("division by zero") from error
    if not bottom:
        raise Inexact("division by zero")
    return top, bottom


def _form(node: Node) -> Form:
    value = rational_value(node)
    if value is not None:
        return {(): coefficient_within(value)} if value else {}, ONE
    if isinstance(node, Symbol):
        # A name with signs in it must not be taken for the key of an expression.
        name = node.name if node.name.replace("_", "").isalnum() else repr(node.name)
        return {((name, Fraction(1)),): Fraction(1)}, ONE
    if isinstance(node, Constant):
        if node.name == "infinity":
            raise Inexact("infinity")
        return {(("\0" + node.name, Fraction(1)),): Fraction(1)}, ONE
    if isinstance(node, Sum):
        total: Form = ({}, ONE)
        for term in node.terms:
            total = _add(total, _form(term))
        return total
    if isinstance(node, Product):
        product: Form = (ONE, ONE)
        for factor in node.factors:
            top, bottom = _form(factor)
            product = (multiplied(product[0], top), multiplied(product[1], bottom))
        return product
    if isinstance(node, Quotient):
        top, bottom = _form(node.numerator)
        other_top, other_bottom = _form(node.denominator)
        return _divide((multiplied(top, other_bottom), multiplied(bottom, other_top)))
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
    inverse = monomial_power(monomial, 1 / coefficient, Fraction(-1))
    return multiplied(top, inverse), ONE


def _add(left: Form, right: Form) -> Form:
    if left[1] == right[1]:
        return added(left[0], right[0]), left[1]
    return (
        added(multiplied(left[0], right[1]), multiplied(right[0], left[1])),
        multiplied(left[1], right[1]),
    )


def _power(node: Power) -> Form:
    exponent = rational_value(node.exponent)
    if exponent is None:
        return _symbolic_power(node)
    top, bottom = _form(node.base)
    if exponent.denominator == 1:
        return _repeated(top, bottom, exponent.numerator)
    if bottom is not ONE and bottom != ONE:
        raise Inexact("root of a quotient")
    if len(top) != 1:
        return _opaque(f"({_key((top, bottom))})", exponent)
    ((monomial, coefficient),) = top.items()
    if any(base == "\0i" for base, _ in monomial):
        raise Inexact("root of the imaginary unit")
    exponents: dict[Base, Fraction] = {base: power * exponent for base, power in monomial}
    for base, power in _factored(coefficient, exponent).items():
        exponents[base] = exponents.get(base, Fraction(0)) + power
    merged, carried = normalised(exponents)
    return {merged: carried}, ONE


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
    return _divide((polynomial_power(top, count), polynomial_power(bottom, count)))


def _symbolic_power(node: Power) -> Form:
    """a^(p x + q) as (a^x)^p times a^q, for a positive rational or a constant or symbol a."""
    exponent_top, exponent_bottom = _form(node.exponent)
    if exponent_bottom != ONE:
        return _opaque(f"{_key(_form(node.base))}^{_key((exponent_top, exponent_bottom))}", Fraction(1))
    top, bottom = _form(node.base)
    if bottom != ONE or len(top) != 1:
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
    merged, carried = normalised(exponents)
    return {merged: carried}, ONE


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
    if name in _BY_SINE_AND_COSINE:
        top, bottom = _BY_SINE_AND_COSINE[name]
        sides = [Call(side, node.arguments) if side else Number(Fraction(1)) for side in (top, bottom)]
        return _form(Quotient(*sides))
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
        top: Form = (polynomial, ONE)
    else:
        top = _opaque(f"log({_key(_form(node.arguments[0]))})", Fraction(1))
    if len(node.arguments) == 1:
        return top
    bottom = _logarithm(Call("log", node.arguments[1:]))
    return _divide((multiplied(top[0], bottom[1]), multiplied(top[1], bottom[0])))


def _opaque(name: str, exponent: Fraction) -> Form:
    return {((name, exponent),): Fraction(1)}, ONE


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
