"""What exact normal forms prove: equal forms that two scalars are equal, where roots of symbols are taken at positive
values; unequal forms nothing, unless both are numbers, or polynomials in letters and in roots of primes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from areal_mesh.grading.equality.forms import Form, form
from areal_mesh.grading.equality.polynomials import ONE, Base, Polynomial, added, multiplied
from areal_mesh.grading.trees.nodes import Call, Node, Power, children, symbols
from areal_mesh.grading.trees.rationals import is_small_prime, rational_value

_I_AND_PI: Final = frozenset({"\0i", "\0pi"})


def same(left: Node, right: Node) -> bool | None:
    """Whether the normal forms prove two scalars equal, or different: by a number, or as polynomials in letters and
    in roots of primes.

    None where they prove neither.

    Raises:
        Inexact: if either has no normal form within the bounds.
    """
    (top, bottom), (other_top, other_bottom) = form(left), form(right)
    if bottom == other_bottom:
        equal = top == other_top
    else:
        equal = multiplied(top, other_bottom) == multiplied(other_top, bottom)
    if equal:
        return True
    if bottom != ONE or other_bottom != ONE:
        return None
    if added(top, {key: -value for key, value in other_top.items()}).keys() == {()}:
        return False  # they differ by a number that is not zero
    names = symbols(left) | symbols(right)
    # Roots of different products of primes are linearly independent over the rationals (Besicovitch, 1940), and
    # stay so beside the imaginary unit and over the powers of pi and of letters.
    independent = all(
        (base in names or base in _I_AND_PI) if exponent.denominator == 1 else _is_prime(base)
        for monomial in (*top, *other_top)
        for base, exponent in monomial
    )
    return False if independent else None


def _is_prime(base: Base) -> bool:
    return isinstance(base, int) and is_small_prime(base)


def proportional(left: Node, right: Node) -> Fraction | None:
    """The rational c with `left = c * right`, where the forms prove one that is not zero.

    Raises:
        Inexact: if either has no normal form within the bounds.
    """
    top, bottom = form(left)
    other_top, other_bottom = form(right)
    first, second = multiplied(top, other_bottom), multiplied(other_top, bottom)
    if not first or first.keys() != second.keys():
        return None
    key = next(iter(first))
    factor = first[key] / second[key]
    return factor if all(first[key] == factor * second[key] for key in first) else None


def proportional_numerators(left: Node, right: Node) -> bool:
    """Whether the numerators of two rational functions are proved proportional, negative powers moved below.

    Raises:
        Inexact: if either has no normal form within the bounds.
    """
    if not (_is_rational_function(left) and _is_rational_function(right)):
        return False  # roots hold at positive values alone
    first, second = _numerator(form(left)), _numerator(form(right))
    if not first or first.keys() != second.keys():
        return False
    key = next(iter(first))
    return all(first[other] * second[key] == second[other] * first[key] for other in first)


def _is_rational_function(node: Node) -> bool:
    if isinstance(node, Call) or (isinstance(node, Power) and not _is_whole(node.exponent)):
        return False
    return all(map(_is_rational_function, children(node)))


def _is_whole(node: Node) -> bool:
    value = rational_value(node)
    return value is not None and value.denominator == 1


def _numerator(form: Form) -> Polynomial:
    """The numerator, times the powers of symbols that make every exponent a nought or more, and as small as that."""
    top, _ = form
    lowest: dict[Base, Fraction] = {}
    for monomial in top:
        for base, _exponent in monomial:
            if isinstance(base, str):
                powers = [dict(other).get(base, Fraction(0)) for other in top]
                lowest[base] = min(powers)
    shift = tuple(
        sorted(((base, -power) for base, power in lowest.items() if power < 0), key=lambda item: str(item[0]))
    )
    return multiplied(top, {shift: Fraction(1)}) if shift else top
