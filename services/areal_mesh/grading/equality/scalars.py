"""Whether two scalars are equal, by rising cost.

Exact rationals; then decimals by their written precision; then values in double precision, which screen out what
differs. What is left is undecided here: it needs algebra.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias

from areal_mesh.grading.equality import numeric, samples
from areal_mesh.grading.equality.integers import hides_kinks, speak_of_integers
from areal_mesh.grading.equality.kinks import is_kinked
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Call,
    Constant,
    Node,
    Number,
    Product,
    Quotient,
    Sum,
    children,
    has_decimals,
    has_operators,
    symbols,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.rewriting import with_plain_letters

RELATIVE_TOLERANCE: Final = Fraction(1, 10_000)
"""Of decimals, as in Qwen's protocol (`rel_tol=1e-4`)."""

_FLOATING_NOISE: Final = Fraction(1, 10**9)
"""Relative error that arithmetic in double precision may leave in a decimal, with room."""
_MISSES: Final = 2
_PART_TOLERANCE: Final = 1e-5
"""Relative, of each part of a complex number with decimals."""
_ROUNDING: Final = Fraction(6, 10)
"""Of the last place: half, and some for a number that was rounded twice."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison found: `equal` is None where only algebra can decide."""

    equal: bool | None
    rule: str


Compare: TypeAlias = Callable[[Node, Node], Outcome]
"""Compares a reference with an answer."""
Sequences: TypeAlias = Callable[[Sequence[Node], Sequence[Node], str], Outcome]
"""Compares their items in the same order, under the name of a rule."""


def compare_scalars(gold: Node, answer: Node) -> Outcome:
    """Whether two scalars have the same value for all values of their symbols."""
    if gold == answer or (has_operators(gold) and with_plain_letters(gold) == with_plain_letters(answer)):
        return Outcome(True, "identical")
    if isinstance(gold, Number) and isinstance(answer, Number) and gold.decimals is None and answer.decimals is None:
        return Outcome(gold.value == answer.value, "rational")
    sign = infinite_sign(gold)
    if sign or infinite_sign(answer):
        return Outcome(sign == infinite_sign(answer), "infinity")
    decimals = has_decimals(gold) or has_decimals(answer)
    left, right = rational(gold), rational(answer)
    if left is not None and right is not None:
        if not decimals or left == right:
            return Outcome(left == right, "rational")
        return Outcome(_decimals_agree(left, right, resolution(gold), resolution(answer)), "decimal")
    return _screened(gold, answer, decimals)


def rounds_to(rounded: Number, node: Node) -> bool:
    """Whether a scalar of numbers is a decimal when it is rounded to the places of that."""
    place = resolution(rounded)
    if place is None or not isinstance(node, SCALARS) or symbols(node):
        return False
    try:
        value = numeric.evaluate(node).number
    except numeric.Unmeasurable:
        return False
    # Half a place, and what double precision leaves of it.
    return not value.imag and abs(Fraction(value.real) - rounded.value) <= place * Fraction(500_001, 1_000_000)


def infinite_sign(node: Node) -> int:
    """+1 or -1 for an infinity with that sign, 0 for anything else."""
    if isinstance(node, Constant):
        return 1 if node.name == "infinity" else 0
    if isinstance(node, Product) and len(node.factors) == 2 and node.factors[1] == Constant("infinity"):
        first = node.factors[0]
        return -1 if isinstance(first, Number) and first.value < 0 else 0
    return 0


def resolution(node: Node) -> Fraction | None:
    """The last decimal place that a number is written to; None for one that is exact or has no such place."""
    if isinstance(node, Number):
        return None if node.decimals is None else Fraction(1, 10**node.decimals)
    if isinstance(node, Call) and node.function == "percent":
        place = resolution(node.arguments[0])
        return place / 100 if place else None
    if isinstance(node, Quotient) and not has_decimals(node.denominator):
        place, divisor = resolution(node.numerator), rational(node.denominator)
        return place / abs(divisor) if place and divisor else None
    if isinstance(node, Sum):
        parts = [(term, resolution(term)) for term in node.terms]
        written = [place for _, place in parts if place]
        return max(written) if all(place or not has_decimals(term) for term, place in parts) and written else None
    if isinstance(node, Product):
        places = [(factor, resolution(factor)) for factor in node.factors]
        written = [place for _, place in places if place]
        if len(written) != 1:
            return None
        scale = Fraction(1)
        for factor, place in places:
            if place is None:
                value = rational(factor)
                if not value or has_decimals(factor):
                    return None
                scale *= abs(value)
        return written[0] * scale
    return None


def _decimals_agree(left: Fraction, right: Fraction, left_place: Fraction | None, right_place: Fraction | None) -> bool:
    """Whether one number is the other, rounded or cut to the places it is written to, within the tolerance.

    Two numbers written to the same place are two numbers, however close they are.
    """
    difference = abs(left - right)
    if difference > RELATIVE_TOLERANCE * max(abs(left), abs(right)):
        return False
    if left_place is None and right_place is None:
        # Neither says to which place it was rounded: `83/499.01` is not 83/499.
        return difference <= _FLOATING_NOISE * max(abs(left), abs(right))
    if left_place == right_place:
        return False
    if left_place is None and left.denominator == 1 and right_place is not None and right_place >= 1:
        return False  # an integer that is cut to fewer digits than it has
    if right_place is None or (left_place is not None and left_place > right_place):
        left, right, right_place = right, left, left_place
    assert right_place is not None  # the coarser of the two is on the right now
    rounded = difference <= _ROUNDING * right_place
    cut = 0 <= abs(left) - abs(right) < right_place
    # A value that no decimal states, worked out to sixteen digits of which the last are noise.
    noisy = left_place is None and difference <= _FLOATING_NOISE * abs(left) and not _terminates(left)
    return rounded or cut or noisy


def _terminates(value: Fraction) -> bool:
    """Whether a number has a decimal spelling of less than twenty places."""
    return 10**20 % value.denominator == 0


def _screened(gold: Node, answer: Node, decimals: bool) -> Outcome:
    closeness = _values_close(gold, answer, decimals)
    if closeness is False:
        return Outcome(False, "decimal" if decimals else "numeric")
    if decimals and closeness and not (symbols(gold) or symbols(answer)):
        return Outcome(_decimal_of_irrational(gold, answer), "decimal")
    whole = speak_of_integers(gold, answer)
    unseen = not whole and (_has_steps(gold) != _has_steps(answer) or any(map(hides_kinks, (gold, answer))))
    if unseen or any(_has_far_kink(node) for node in (gold, answer)):
        return Outcome(False, "numeric")  # agreement at points proves nothing
    return Outcome(None, "symbolic")


def _has_steps(node: Node) -> bool:
    """Whether a floor or ceiling of what has letters is in a scalar."""
    if isinstance(node, Call) and node.function in ("floor", "ceiling") and symbols(node):
        return True
    return any(map(_has_steps, children(node)))


def _has_far_kink(node: Node) -> bool:
    """Whether a scalar may have a kink beyond the sample points."""
    if is_kinked(node) and symbols(node):
        return any(map(_reaches_beyond, children(node)))
    return any(map(_has_far_kink, children(node)))


def _reaches_beyond(node: Node) -> bool:
    """Whether there is a number in a scalar that is too large or too small for the sample points."""
    value = rational(node)
    if value is not None:
        return bool(value) and not samples.SEEN[0] <= abs(value) <= samples.SEEN[1]
    return any(map(_reaches_beyond, children(node)))


def _values_close(gold: Node, answer: Node, decimals: bool) -> bool | None:
    """Whether the values agree at every sample point; None where no point can tell."""
    names = symbols(gold) | symbols(answer)
    measured = missed = 0
    for index in samples.sample_points(gold, answer):
        try:
            left, right = numeric.evaluate(gold, index), numeric.evaluate(answer, index)
        except numeric.Unmeasurable:
            missed += 1
            if missed > _MISSES and not measured:
                break  # no point will do
            continue
        if not samples.is_positive(index):
            if not numeric.is_real(left) or numeric.has_branch(gold, index):
                continue  # a convention, not a difference
            missing = not numeric.is_real(right) and _holds_modulus(gold)
            if missing and numeric.has_branch(answer, index, of_logarithm=True):
                return False  # `\ln x`, where `\ln|x|` has a value
            if not numeric.is_real(right) or numeric.has_branch(answer, index):
                continue
        size = max(abs(left.number), abs(right.number))
        if not _close(left, right, decimals):
            if names and _on_branches(gold, answer, index):
                continue
            return False
        if 16 * (left.error + right.error) <= 1e-6 * size or size <= 1e-9:
            measured += 1
    return True if measured >= (2 if names else 1) else None


def _holds_modulus(node: Node) -> bool:
    return (isinstance(node, Call) and node.function == "abs") or any(map(_holds_modulus, children(node)))


def _on_branches(gold: Node, answer: Node, index: int) -> bool:
    return numeric.has_branch(gold, index) and numeric.has_branch(answer, index)


def _close(left: numeric.Value, right: numeric.Value, decimals: bool) -> bool:
    """Whether two values agree within their errors; where decimals are given, each part within the tolerance."""
    allowed = 16 * (left.error + right.error) + 1e-290
    if not decimals:
        return abs(left.number - right.number) <= allowed
    parts = ((left.number.real, right.number.real), (left.number.imag, right.number.imag))
    tolerance = float(RELATIVE_TOLERANCE)
    return all(abs(one - other) <= allowed + tolerance * max(abs(one), abs(other)) for one, other in parts)


def _decimal_of_irrational(gold: Node, answer: Node) -> bool:
    left, right = numeric.evaluate(gold).number, numeric.evaluate(answer).number
    size = max(abs(left), abs(right))
    places = resolution(gold), resolution(answer)
    if max(abs(left.imag), abs(right.imag)) <= 1e-9 * size:
        return _decimals_agree(Fraction(left.real), Fraction(right.real), *places)
    # A complex number: each part by itself, to the places of the decimals that are in either.
    parts = ((left.real, right.real), (left.imag, right.imag))
    return all(abs(one - other) <= max(1e-9 * size, _PART_TOLERANCE * abs(one)) for one, other in parts)
