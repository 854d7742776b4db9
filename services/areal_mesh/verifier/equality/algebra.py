"""The last and dearest rule: both scalars to hundreds of digits, at points where each letter has a value.

Agreement to that many digits at every point is taken for equality. The arithmetic is mpmath's, SymPy's own; SymPy's
expressions are not used, because what they do to themselves on the way has no bound. Every value on the way is zero or
far from it: a sum that is lost in its terms is zero where nothing is left of it, and has no value where little is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from mpmath import MPContext

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
    children,
    symbols,
)
from areal_mesh.verifier.trees.rationals import common_multiple, rational
from areal_mesh.verifier.trees.shapes import count_nodes

_MP: Final = MPContext()
_DIGITS: Final = 300
_DIGITS_A_TERM: Final = 100
_MOST_DIGITS: Final = 1_500
_FEW_TERMS: Final = 12
"""Terms that may cancel by ninety digits each and leave digits."""
_DIGITS_OF_FACTORIALS: Final = 200
"""The gamma function takes seconds for more."""
_FACTORIALS: Final = 4
"""Of what is no whole number, in one scalar."""
_LOST: Final = 60
"""Digits that honest cancellation may cost."""
_SPARE_BITS: Final = 100
"""Of rounding: a sum that is smaller than its terms by all bits but these is zero."""
_SHARE_BITS: Final = 300
_SMALL_SHARE_BITS: Final = 50
"""How much larger than a value what stands beside it may be, and than one a number and what has a root, a logarithm or
a function taken: 2^300 times where terms are few, 2^50 where they are many. So each term costs a sum ninety digits at
most, or fifteen, and an answer has no room for terms enough to reach the last digit."""
_POINTS: Final = 2
"""Points that are evaluated to many digits: values in double precision have agreed at all of them."""
_FAILURES: Final = 1
_ORDER: Final = (0, 3, 1, 4, 2)
_BITS: Final = 20_000
"""Of a value before its point, or of noughts after it."""
_LARGEST_LOGARITHM: Final = 10_000
_LARGEST_ROUNDED: Final = 10**15
_FALLING_FACTORS: Final = 20
_HYPERBOLIC: Final = frozenset({"sinh", "cosh", "tanh", "coth"})
_LARGEST_HYPERBOLIC: Final = 100
"""A hyperbolic tangent differs from one by 1e-87 there."""


class _Unsupported(ArithmeticError):
    """There is no bounded way to evaluate this, or no value."""


def decide(gold: Node, answer: Node) -> Outcome:
    """Whether two scalars are equal; what cannot be evaluated within the bounds is not."""
    if count_nodes(gold) > limits.NODES or count_nodes(answer) > limits.NODES:
        return Outcome(False, "symbolic")
    if _holds_infinity(gold) or _holds_infinity(answer):
        return Outcome(False, "symbolic")
    precision = _Precision.of(gold, answer)
    if precision is None:
        return Outcome(False, "symbolic")
    _MP.dps = precision.digits
    tolerance = _MP.mpf(10) ** (_LOST - _MP.dps)
    names = symbols(gold) | symbols(answer)
    measured = failed = 0
    needed = _POINTS if names else 1
    for index in _ORDER[: None if names else 1]:
        try:
            point = _Point(index, precision.share_bits)
            left, right = point.value(gold), point.value(answer)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever mpmath raises, there is no value here, and what has none is not equal
            failed += 1
            if failed > _FAILURES and not measured:
                break  # no point will do
            continue
        if index >= samples.POSITIVE_SAMPLES and (
            not (_is_real(left) and _is_real(right))
            or numeric.has_branch(gold, index)
            or numeric.has_branch(answer, index)
        ):
            continue
        if abs(left - right) > max(abs(left), abs(right)) * tolerance:
            if names and numeric.has_branch(gold, index) and numeric.has_branch(answer, index):
                continue
            return Outcome(False, "symbolic")
        measured += 1
        if measured == needed:
            break
    return Outcome(measured == needed, "symbolic")


def _holds_infinity(node: Node) -> bool:
    return node == Constant("infinity") or any(map(_holds_infinity, children(node)))


@dataclass(frozen=True, slots=True)
class _Precision:
    """Digits to work with, and the share that a value may have of what stands beside it."""

    digits: int
    share_bits: int

    @classmethod
    def of(cls, gold: Node, answer: Node) -> _Precision | None:
        """What two scalars need; None where that is more than there is."""
        terms = max(_count_terms(gold), _count_terms(answer))
        factorials = max(_count_factorials(gold), _count_factorials(answer))
        if factorials > _FACTORIALS or (factorials and terms > _FEW_TERMS):
            return None
        if factorials:
            return cls(_DIGITS_OF_FACTORIALS, _SMALL_SHARE_BITS)
        if terms > _FEW_TERMS:
            return cls(_MOST_DIGITS, _SMALL_SHARE_BITS)
        return cls(_DIGITS + _DIGITS_A_TERM * terms, _SHARE_BITS)


def _count_factorials(node: Node) -> int:
    """Factorials and binomial coefficients of what is no whole number."""
    own = isinstance(node, Call) and node.function in ("factorial", "binomial") and rational(node) is None
    return own + sum(map(_count_factorials, children(node)))


def _count_terms(node: Node) -> int:
    """Terms of sums that are no rationals: what may cancel."""
    own = sum(rational(term) is None for term in node.terms) if isinstance(node, Sum) else 0
    return own + sum(map(_count_terms, children(node)))


class _Point:
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
        if value != 0 and abs(_MP.mag(value)) > _BITS:
            raise _Unsupported("a value larger than the bound, or smaller")
        return value

    def _evaluated(self, node: Node) -> Any:
        match node:
            case Number(value, _):
                return self._bounded(_MP.mpf(value.numerator) / value.denominator)
            case Symbol(name):
                return _MP.mpf(samples.sample(name, self._index))
            case Constant(name):
                return _constant(name)
            case Sum(terms):
                return self._total([self.value(term) for term in terms])
            case Product(factors):
                return reduce(lambda left, right: left * right, map(self.value, factors))
            case Quotient(top, bottom):
                divisor = self.value(bottom)
                if divisor == 0:
                    raise _Unsupported("division by zero")
                return self.value(top) / divisor
            case Power(base, exponent):
                return self._power(base, exponent)
            case Call(name, arguments):
                return self._call(name, [self.value(argument) for argument in arguments])
        raise _Unsupported(type(node).__name__)

    def _power(self, base: Node, exponent: Node) -> Any:
        below, above = self.value(base), self._bounded(self.value(exponent))
        if below == 0:
            if symbols(exponent) or not (_is_real(above) and above > 0):
                raise _Unsupported("nought to a power that may be nought")
            return below
        if _is_real(above) and _MP.isint(above) and abs(above) * (abs(_MP.mag(below)) + 1) <= _BITS:
            return below ** int(above)
        if above == _MP.mpf(0.5):
            return _MP.sqrt(self._bounded(below))
        logarithm = above * _MP.log(self._bounded(below))
        if abs(logarithm) > _LARGEST_LOGARITHM:
            raise _Unsupported("power larger than the bound")
        return _MP.exp(logarithm)

    def _call(self, name: str, arguments: list[Any]) -> Any:
        first = arguments[0]
        if name == "root":
            return _root(self._bounded(first), arguments[1])
        if name == "log":
            logarithms = [self._settled(_MP.log(self._bounded(value)), 1) for value in arguments]
            return logarithms[0] if len(arguments) == 1 else logarithms[0] / logarithms[1]
        if name in _OF_REALS and not all(map(_is_real, arguments)):
            raise _Unsupported(f"{name} of a complex number")
        if name in _OF_ANY_SIZE:
            return _OF_ANY_SIZE[name](*arguments)
        if name not in _ANALYTIC:
            raise _Unsupported(name)
        if name in _HYPERBOLIC and abs(first) > _LARGEST_HYPERBOLIC:
            raise _Unsupported(f"{name} of more than the bound")
        value = _ANALYTIC[name](self._bounded(first))
        return self._settled(value, 1)

    def _bounded(self, value: Any) -> Any:
        """A value that is zero, or neither tiny nor huge."""
        if value != 0 and abs(_MP.mag(value)) > self._share_bits:
            raise _Unsupported("a number that is tiny or huge")
        return value

    def _settled(self, value: Any, scale: int | None = None) -> Any:
        """A value with each part zero or far from it, beside the whole or what has `scale` bits before its point."""
        if not _MP.isfinite(value):
            raise _Unsupported("no finite value")
        if scale is None and _is_real(value):
            return value
        if value == 0:
            return _MP.mpf(0)
        scale = max(_MP.mag(value), _MP.mag(value) if scale is None else scale)
        if _is_real(value):
            return self._part(value, scale)
        real, imaginary = self._part(value.real, scale), self._part(value.imag, scale)
        return _MP.mpc(real, imaginary) if imaginary else real

    def _part(self, value: Any, scale: int) -> Any:
        if value == 0 or _MP.mag(value) < scale - _MP.prec + _SPARE_BITS:
            return _MP.mpf(0)
        if _MP.mag(value) < scale - self._share_bits:
            raise _Unsupported("a value too small beside another to be told from nothing")
        return value

    def _total(self, terms: Sequence[Any]) -> Any:
        sizes = [_MP.mag(term) for term in terms if term != 0]
        if not sizes:
            return _MP.mpf(0)
        if min(sizes) < max(sizes) - self._share_bits:
            raise _Unsupported("a term too small beside another to be told from nothing")
        return self._settled(_MP.fsum(terms), max(sizes))


def _constant(name: str) -> Any:
    return {"pi": +_MP.pi, "e": +_MP.e, "i": _MP.j}[name]


def _is_real(value: Any) -> bool:
    return not isinstance(value, _MP.mpc)


def _root(radicand: Any, degree: Any) -> Any:
    if not (_is_real(degree) and _MP.isint(degree) and 0 < degree <= limits.FACTORIAL):
        raise _Unsupported("root of no whole degree, or a larger one than the bound")
    order = int(degree)
    if _is_real(radicand) and radicand < 0 and order % 2:
        return -_MP.root(-radicand, order)
    return _MP.root(radicand, order)


def _factorial(value: Any) -> Any:
    _bound_factorials(value)
    return _MP.mpf(math.factorial(int(value))) if _MP.isint(value) else _MP.gamma(value + 1)


def _binomial(upper: Any, lower: Any) -> Any:
    """Of whole numbers exactly, of others by the gamma function."""
    _bound_factorials(upper, lower)
    if _MP.isint(upper) and _MP.isint(lower) and upper >= 0 and lower >= 0:
        return _MP.mpf(math.comb(int(upper), int(lower)))
    if _MP.isint(lower) and 0 <= lower <= _FALLING_FACTORS:
        factors = [(upper - at) / (at + 1) for at in range(int(lower))]
        return reduce(lambda left, right: left * right, factors, _MP.mpf(1))
    return _MP.binomial(upper, lower)


def _bound_factorials(*values: Any) -> None:
    if any(abs(value) > limits.FACTORIAL for value in values):
        raise _Unsupported("a factorial of more than the bound")


def _rounded(value: Any, down: bool) -> Any:
    if abs(value) >= _LARGEST_ROUNDED:
        raise _Unsupported("a rounded number larger than the bound")
    nearest = _MP.nint(value)
    if value == nearest or _MP.mag(value - nearest) < -_SMALL_SHARE_BITS:
        return nearest
    return _MP.floor(value) if down else _MP.ceil(value)


def _integers(values: Sequence[Any]) -> list[int]:
    if not all(_MP.isint(value) and abs(value) < _LARGEST_ROUNDED for value in values):
        raise _Unsupported("no integers")
    return [int(value) for value in values]


def _generic(scale: int, shift: int) -> Callable[[Any], Any]:
    return lambda x: _MP.sin(_MP.mpf(scale) / 100 * x + _MP.mpf(shift) / 100) + x * x / 7


_OF_REALS: Final = frozenset({"floor", "ceiling", "max", "min", "gcd", "lcm", "factorial", "binomial"})
_OF_ANY_SIZE: Final[dict[str, Callable[..., Any]]] = {
    "percent": lambda x: x / 100, "degree": lambda x: x * _MP.pi / 180, "abs": abs, "Re": _MP.re, "Im": _MP.im,
    "floor": lambda x: _rounded(x, True), "ceiling": lambda x: _rounded(x, False), "max": max, "min": min,
    "gcd": lambda *values: _MP.mpf(math.gcd(*_integers(values))),
    "lcm": lambda *values: _MP.mpf(common_multiple(_integers(values))),
    "factorial": _factorial, "binomial": _binomial,
}  # fmt: skip
_ANALYTIC: Final[dict[str, Callable[[Any], Any]]] = {
    "sin": _MP.sin, "cos": _MP.cos, "tan": _MP.tan, "cot": _MP.cot, "sec": _MP.sec, "csc": _MP.csc,
    "arcsin": _MP.asin, "arccos": _MP.acos, "arctan": _MP.atan, "arccot": lambda x: _MP.pi / 2 - _MP.atan(x),
    "sinh": _MP.sinh, "cosh": _MP.cosh, "tanh": _MP.tanh, "coth": _MP.coth,
    "f": _generic(83, 31), "g": _generic(57, 77), "F": _generic(71, 13), "G": _generic(93, 49),
    "prime": _generic(37, 91),
}  # fmt: skip
"""Functions that may bring any value near nothing: they are taken of what is neither tiny nor huge."""
