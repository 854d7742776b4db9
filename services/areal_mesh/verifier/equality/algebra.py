"""The last and dearest rule: SymPy, on expressions built node by node from the bounded tree.

Both scalars are evaluated to fifty digits, with SymPy's control of cancellation, at points where each symbol has a
rational value. Agreement to that many digits at every point is taken for equality. No string is ever given to SymPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import sympy

from areal_mesh.verifier import limits
from areal_mesh.verifier.equality import numeric, samples
from areal_mesh.verifier.equality.scalars import Outcome
from areal_mesh.verifier.trees.nodes import (
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
from areal_mesh.verifier.trees.rationals import common_multiple
from areal_mesh.verifier.trees.shapes import count_nodes

_DIGITS: Final = 50
_WORKING_DIGITS: Final = 200
"""Digits that SymPy may work with before a difference counts as zero."""
_FINEST_DIGITS: Final = 500
_POINTS: Final = 2
"""Points that are evaluated to many digits: values in double precision have agreed at all of them."""
_ORDER: Final = (0, 3, 1, 4, 2)
_EQUAL: Final = sympy.Float(10) ** -(_DIGITS - 6)
_SPECIAL_EXPONENT: Final = 4_096
_FACTORED_BITS: Final = 512
_FALLING_FACTORS: Final = 20
"""Largest k for which SymPy writes out the binomial coefficient of a number that is no integer."""
_ROOT_BITS: Final = 4_096
_LARGEST_ANGLE: Final = sympy.Integer(10) ** 400
_LARGEST_HYPERBOLIC: Final = 100
"""A hyperbolic tangent differs from one by 1e-87 there, which the working digits show."""
_SIZE_DIGITS: Final = 3
_SMALLEST_SHARE: Final = sympy.Float(10) ** 90
_LITERAL_BITS: Final = 300
"""Of a number that stands in what has no normal form: longer ones may differ where the working digits end."""
_HYPERBOLIC: Final = frozenset({"sinh", "cosh", "tanh", "coth"})
_PERIODIC: Final = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})
_LARGEST_ROUNDED: Final = 10**15
_CONSTANTS: Final = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}


class _Unsupported(ArithmeticError):
    """SymPy has no bounded way to evaluate this."""


def decide(gold: Node, answer: Node) -> Outcome:
    """Whether two scalars are equal; what SymPy cannot evaluate within the bounds is not."""
    if count_nodes(gold) > limits.NODES or count_nodes(answer) > limits.NODES:
        return Outcome(False, "symbolic")
    names = symbols(gold) | symbols(answer)
    measured = 0
    needed = _POINTS if names else 1
    for index in _ORDER[: None if names else 1]:
        try:
            left, right = _build(gold, index), _build(answer, index)
            values = _value(left), _value(right)
            if index >= samples.POSITIVE_SAMPLES and (
                not all(value.is_real for value in values)
                or numeric.has_branch(gold, index)
                or numeric.has_branch(answer, index)
            ):
                continue
            if abs(values[0] - values[1]) > _EQUAL * max(map(abs, values)) or not _vanishes(left, right, bool(names)):
                return Outcome(False, "symbolic")
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever SymPy raises, there is no value here, and what has none is not equal
            continue
        measured += 1
        if measured == needed:
            break
    return Outcome(measured == needed, "symbolic")


def _vanishes(left: Any, right: Any, sampled: bool) -> bool:
    """Whether a difference is zero as far as the working digits tell, however small it is beside what it is made of."""
    # Left unevaluated: to ask SymPy whether it is zero may start a search for minimal polynomials.
    difference = sympy.Add(left, -right, evaluate=False)
    # The gamma function prepares tables for as many digits as it may need.
    slow = sampled or difference.has(sympy.gamma, sympy.factorial, sympy.binomial)
    digits = _WORKING_DIGITS if slow else _FINEST_DIGITS
    value = difference.evalf(2, maxn=digits)
    return all(part.is_zero or getattr(part, "_prec", 2) <= 1 for part in value.as_real_imag())


def _value(expression: Any) -> Any:
    """The value to fifty digits."""
    value = expression.evalf(_DIGITS, maxn=_WORKING_DIGITS)
    if not value.is_number or value.has(sympy.nan, sympy.zoo, sympy.oo):
        raise _Unsupported("no finite value")
    real, imaginary = value.as_real_imag()
    if not (real.is_Float or real.is_Rational) or not (imaginary.is_Float or imaginary.is_Rational):
        raise _Unsupported("no number")
    if abs(imaginary) <= _EQUAL * abs(real):
        return real
    return real + sympy.I * imaginary


def _rational(value: Fraction) -> Any:
    return sympy.Rational(value.numerator, value.denominator)


def _build(node: Node, index: int) -> Any:
    """A SymPy expression with every symbol at its sample value."""
    built = _built(node, index)
    if built.is_finite is False or isinstance(built, sympy.AccumBounds) or built is sympy.nan:
        raise _Unsupported("no finite value")
    return built


def _built(node: Node, index: int) -> Any:
    match node:
        case Number(value, _):
            if max(value.numerator.bit_length(), value.denominator.bit_length()) > _LITERAL_BITS:
                raise _Unsupported("a number with more digits than the bound")
            return _rational(value)
        case Symbol(name):
            return _rational(Fraction(samples.sample(name, index)).limit_denominator(997))
        case Constant(name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case Sum(terms):
            built = [_build(term, index) for term in terms]
            _compare_sizes([_size(value, term, index) for value, term in zip(built, terms, strict=True)])
            return sympy.Add(*built)
        case Product(factors):
            return sympy.Mul(*(_build(factor, index) for factor in factors))
        case Quotient(top, bottom):
            divisor = _build(bottom, index)
            if divisor.is_zero:
                raise _Unsupported("division by zero")
            return _build(top, index) / divisor
        case Power(base, exponent):
            below = _build(base, index)
            if below.is_zero and symbols(exponent):
                raise _Unsupported("nought to a power that may be nought")
            return _power(below, _argument(exponent, index))
        case Call(name, arguments):
            return _call(name, [_argument(argument, index) for argument in arguments])
    raise _Unsupported(type(node).__name__)


def _argument(node: Node, index: int) -> Any:
    """An argument or exponent, which is zero or large enough for the working digits to show what it does."""
    value = _build(node, index)
    _compare_sizes([sympy.Integer(1), _size(value, node, index)])
    return value


def _compare_sizes(sizes: Sequence[Any]) -> None:
    """Raises where one is so small beside another that the working digits may lose it."""
    present = [size for size in sizes if size != 0]
    if present and not min(present) * _SMALLEST_SHARE >= max(present):
        raise _Unsupported("a value too small beside another to be told from nothing")


def _size(value: Any, node: Node, index: int) -> Any:
    """About the size of a node's value, in double precision where that can tell."""
    try:
        measured = numeric.evaluate(node, index)
    except numeric.Unmeasurable:
        return abs(value.evalf(_SIZE_DIGITS, maxn=_WORKING_DIGITS))
    if measured.error < abs(measured.number) / 2:
        return sympy.Float(abs(measured.number))
    return abs(value.evalf(_SIZE_DIGITS, maxn=_WORKING_DIGITS))


def _power(base: Any, exponent: Any) -> Any:
    if base.is_zero and not exponent.is_positive:
        raise _Unsupported("nought to the power of nought")
    size = exponent.evalf(15)
    if not size.is_number or abs(size) > _SPECIAL_EXPONENT:
        raise _Unsupported("exponent larger than the bound")
    if not base.is_Rational and any(
        max(abs(part.p), part.q).bit_length() > _FACTORED_BITS for part in base.atoms(sympy.Rational)
    ):
        raise _Unsupported("power of what holds an integer larger than the bound")
    if base.is_Rational and exponent.is_Rational and exponent.q != 1 and base.p.bit_length() > _ROOT_BITS:
        raise _Unsupported("root of an integer larger than the bound")
    if base.is_Rational and exponent.is_Rational:
        bits = max(abs(base.p), base.q).bit_length()
        if bits * abs(float(size)) > limits.INTEGER_BITS:
            raise _Unsupported("power larger than the bound")
        if exponent.q != 1:
            # Left unevaluated: SymPy would factor the base in search of perfect powers.
            return sympy.Pow(base, exponent, evaluate=False)
    return base**exponent


def _call(name: str, arguments: list[Any]) -> Any:
    first = arguments[0]
    if name == "percent":
        return first / 100
    if name == "degree":
        return first * sympy.pi / 180
    if name == "root":
        return _root(first, arguments[1])
    if name == "log" and len(arguments) == 2:
        return sympy.log(first) / sympy.log(arguments[1])
    if name in ("factorial", "binomial") and any(value.has(sympy.gamma, sympy.factorial) for value in arguments):
        raise _Unsupported("factorial of a factorial that is no number")
    if name in ("factorial", "binomial") and any(abs(value.evalf(15)) > limits.FACTORIAL for value in arguments):
        raise _Unsupported(f"{name} larger than the bound")
    if name == "binomial" and not all(value.is_Integer for value in arguments) and abs(arguments[1]) > _FALLING_FACTORS:
        raise _Unsupported("binomial of no integers larger than the bound")
    if name in _HYPERBOLIC and abs(first.evalf(15)) > _LARGEST_HYPERBOLIC:
        raise _Unsupported(f"{name} of more than the bound")
    if name in _PERIODIC and abs(first.evalf(15)) > _LARGEST_ANGLE:
        raise _Unsupported(f"{name} of more than the bound")
    if name in ("floor", "ceiling") and not abs(first.evalf(15)) < _LARGEST_ROUNDED:
        raise _Unsupported(f"{name} of more than the bound")
    if name in ("gcd", "lcm") and not all(value.is_Integer for value in arguments):
        raise _Unsupported(f"{name} of no integers")
    function = _FUNCTIONS.get(name)
    if function is None:
        raise _Unsupported(name)
    return function(*arguments)


def _extreme(values: Sequence[Any], *, largest: bool) -> Any:
    """The largest or least of some numbers by their values: SymPy's own would try to prove which."""
    numbers = [value.evalf(_DIGITS, maxn=_WORKING_DIGITS) for value in values]
    if not all(number.is_real and number.is_finite for number in numbers):
        raise _Unsupported("extreme of what has no order")
    order = sorted(range(len(values)), key=lambda place: numbers[place])
    return values[order[-1] if largest else order[0]]


def _root(radicand: Any, degree: Any) -> Any:
    if radicand.is_negative and degree.is_odd:
        return -_power(-radicand, 1 / degree)
    return _power(radicand, 1 / degree)


def _generic(scale: int, shift: int) -> Any:
    return lambda x: sympy.sin(sympy.Rational(scale, 100) * x + sympy.Rational(shift, 100)) + x * x / 7


_FUNCTIONS: Final[dict[str, Any]] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "arccot": lambda x: sympy.pi / 2 - sympy.atan(x),
    "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "coth": sympy.coth, "log": sympy.log,
    "abs": sympy.Abs, "Re": sympy.re, "Im": sympy.im, "factorial": sympy.factorial, "binomial": sympy.binomial,
    "floor": sympy.floor, "ceiling": sympy.ceiling, "max": lambda *values: _extreme(values, largest=True),
    "min": lambda *values: _extreme(values, largest=False),
    "gcd": lambda *values: sympy.Integer(math.gcd(*map(int, values))),
    "lcm": lambda *values: sympy.Integer(common_multiple(map(int, values))),
    "f": _generic(83, 31), "g": _generic(57, 77), "F": _generic(71, 13), "G": _generic(93, 49),
    "prime": _generic(37, 91),
}  # fmt: skip
