"""Values of scalars in double precision, with a bound on their rounding error.

Two scalars whose values differ by more than their errors are different: that screens out nearly all wrong
answers before any algebra. Agreement here proves nothing.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.equality.samples import complex_sample
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
    children,
    negated,
)

_EPSILON: Final = 4e-16
_HUGE: Final = 1e250
_TINY: Final = 1e-250
_CONSTANTS: Final = {"pi": math.pi, "e": math.e, "i": 1j}


class Unmeasurable(ArithmeticError):
    """The scalar has no value in double precision at this point."""


@dataclass(frozen=True, slots=True)
class Value:
    number: complex
    error: float
    """Absolute, an upper estimate."""


def is_real(value: Value) -> bool:
    return abs(value.number.imag) <= value.error


def has_branch(node: Node, index: int, *, of_logarithm: bool = False) -> bool:
    """Whether a root or logarithm, or a logarithm alone, is taken of a negative number or of no value at a point.

    The angle of a sine beyond one is a logarithm too.

    Its branch is a convention.
    """
    match node:
        case Power(base, Number(exponent)) if exponent.denominator == 1:
            return has_branch(base, index, of_logarithm=of_logarithm)
        case Power(base, _) | Call("root", (base, *_)) if not of_logarithm:
            if _is_negative(base, index):
                return True
        case Call("log", (base, *_)):
            if _is_negative(base, index):
                return True
        case Call("arcsin" | "arccos", (sine,)):
            if _is_negative(Sum((Number(Fraction(1)), negated(Power(sine, Number(Fraction(2)))))), index):
                return True
    return any(has_branch(child, index, of_logarithm=of_logarithm) for child in children(node))


def _is_negative(node: Node, index: int) -> bool:
    """Whether a value is negative, or none."""
    try:
        value = evaluate(node, index)
    except Unmeasurable:
        return True
    return value.number.real < 0 and is_real(value)


def evaluate(node: Node, index: int = 0) -> Value:
    """The value of a scalar with its symbols at a sample point.

    Raises:
        Unmeasurable: if it overflows, divides by zero, or is undefined there.
    """
    try:
        value = _evaluate(node, index)
        size = abs(value.number)
    except (OverflowError, ZeroDivisionError, ValueError) as error:
        raise Unmeasurable(str(error)) from error
    if not size < _HUGE or not math.isfinite(value.error) or (0 < size < _TINY):
        raise Unmeasurable("out of range")
    return value


def _evaluate(node: Node, index: int) -> Value:
    if isinstance(node, Number):
        number = node.value.numerator / node.value.denominator
        return Value(complex(number), _EPSILON * abs(number))
    if isinstance(node, Symbol):
        return Value(complex_sample(node.name, index), 0.0)
    if isinstance(node, Constant):
        if node.name == "infinity":
            raise Unmeasurable("infinity")
        return Value(complex(_CONSTANTS[node.name]), _EPSILON)
    if isinstance(node, Sum):
        terms = [_evaluate(term, index) for term in node.terms]
        total = sum(term.number for term in terms)
        return Value(total, sum(term.error + _EPSILON * abs(term.number) for term in terms))
    if isinstance(node, Product):
        result = Value(1 + 0j, 0.0)
        for factor in node.factors:
            result = _product(result, _evaluate(factor, index))
        return result
    if isinstance(node, Quotient):
        return _quotient(_evaluate(node.numerator, index), _evaluate(node.denominator, index))
    if isinstance(node, Power):
        return _power(_evaluate(node.base, index), _evaluate(node.exponent, index))
    if isinstance(node, Call):
        return _call(node, index)
    raise Unmeasurable(f"{type(node).__name__} is no scalar")


def _product(left: Value, right: Value) -> Value:
    number = left.number * right.number
    error = abs(left.number) * right.error + abs(right.number) * left.error + _EPSILON * abs(number)
    return Value(number, error)


def _quotient(top: Value, bottom: Value) -> Value:
    size = abs(bottom.number)
    if size <= 8 * bottom.error:
        raise Unmeasurable("division by what may be zero")
    number = top.number / bottom.number
    return Value(number, (top.error + abs(number) * bottom.error) / size + _EPSILON * abs(number))


def _power(base: Value, exponent: Value) -> Value:
    if base.number == 0:
        if exponent.number.real <= 0:
            raise Unmeasurable("power of zero")
        return Value(0j, base.error)
    # Rounding may have left an imaginary part of zero with either sign: the principal branch is meant.
    start = complex(base.number.real, 0.0) if abs(base.number.imag) <= base.error else base.number
    number = start**exponent.number
    size = abs(number)
    if size < _TINY:
        raise Unmeasurable("too small for its relative error to be known")
    relative = abs(exponent.number) * base.error / abs(start) + abs(cmath.log(start)) * exponent.error
    return Value(number, size * (relative + 4 * _EPSILON * (1 + abs(exponent.number))))


def _call(node: Call, index: int) -> Value:
    arguments = [_evaluate(argument, index) for argument in node.arguments]
    name = node.function
    if name in ("percent", "degree"):
        return _product(arguments[0], Value(0.01 if name == "percent" else math.pi / 180, _EPSILON / 50))
    if name == "root":
        return _root(*arguments)
    if name == "log" and len(arguments) == 2:
        return _quotient(_apply(cmath.log, arguments[0]), _apply(cmath.log, arguments[1]))
    if name in _INTEGER_FUNCTIONS:
        return _integer_function(name, arguments)
    function = _FUNCTIONS.get(name)
    if function is None or len(arguments) != 1:
        raise Unmeasurable(f"{name} has no value")
    return _apply(function, arguments[0])


def _root(radicand: Value, degree: Value) -> Value:
    order = degree.number.real
    real = abs(radicand.number.imag) <= radicand.error
    if real and radicand.number.real < 0 and order.is_integer() and order % 2 == 1:
        positive = _power(Value(-radicand.number, radicand.error), _quotient(Value(1 + 0j, 0.0), degree))
        return Value(-positive.number, positive.error)
    return _power(radicand, _quotient(Value(1 + 0j, 0.0), degree))


def _apply(function: Callable[[complex], complex], argument: Value) -> Value:
    """Error by a difference over a step as wide as the argument's error."""
    number = function(argument.number)
    step = max(argument.error, _EPSILON * abs(argument.number), 1e-300)
    moved = abs(function(argument.number + step) - number)
    if moved > 0.01 * (1 + abs(number)):
        raise Unmeasurable("too steep to measure")
    return Value(complex(number), 2 * moved + 4 * _EPSILON * (abs(number) + 1e-16))


def _generic(scale: float, shift: float) -> Callable[[complex], complex]:
    """A fixed function without identities, which stands for an unknown f."""
    return lambda x: cmath.sin(scale * x + shift) + x * x / (3 + scale)


_FUNCTIONS: Final[dict[str, Callable[[complex], complex]]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "arccot": lambda x: math.pi / 2 - cmath.atan(x),
    "arcsinh": cmath.asinh,
    "arccosh": cmath.acosh,
    "arctanh": cmath.atanh,
    "conjugate": lambda x: x.conjugate(),
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "coth": lambda x: 1 / cmath.tanh(x),
    "log": cmath.log,
    "abs": lambda x: complex(abs(x)),
    "Re": lambda x: complex(x.real),
    "Im": lambda x: complex(x.imag),
    "f": _generic(0.83, 0.31),
    "g": _generic(0.57, 0.77),
    "F": _generic(0.71, 0.13),
    "G": _generic(0.93, 0.49),
    "prime": _generic(0.37, 0.91),
}

_INTEGER_FUNCTIONS: Final = frozenset(
    {"factorial", "double factorial", "binomial", "floor", "ceiling", "gcd", "lcm", "max", "min"}
)


def _integer_function(name: str, arguments: list[Value]) -> Value:
    if any(abs(argument.number.imag) > argument.error for argument in arguments):
        raise Unmeasurable(f"{name} of a complex number")
    reals = [argument.number.real for argument in arguments]
    error = max(argument.error for argument in arguments)
    if name in ("max", "min"):
        return Value(complex(max(reals) if name == "max" else min(reals)), error)
    if name in ("floor", "ceiling"):
        if (
            len(reals) != 1
            or 8 * error >= 0.5
            or (abs(reals[0] - round(reals[0])) <= 8 * error + 1e-12 and not reals[0].is_integer())
        ):
            raise Unmeasurable("too near an integer")
        return Value(complex(math.floor(reals[0]) if name == "floor" else math.ceil(reals[0])), 0.0)
    if name in ("gcd", "lcm"):
        if not all(real.is_integer() and abs(real) < 2**53 for real in reals):
            raise Unmeasurable(f"{name} of no integers")
        integers = [int(real) for real in reals]
        return Value(complex(math.gcd(*integers) if name == "gcd" else math.lcm(*integers)), 0.0)
    if name == "double factorial":
        if not reals[0].is_integer() or not -1 <= reals[0] <= 300:
            raise Unmeasurable("double factorial out of range")
        return Value(complex(math.prod(range(int(reals[0]), 0, -2))), 1e-13 * math.prod(range(int(reals[0]), 0, -2)))
    if name == "factorial":
        if reals[0] < 0 or reals[0] > 170:
            raise Unmeasurable("factorial out of range")
        number = math.gamma(reals[0] + 1)
        return Value(complex(number), number * (error * math.log(reals[0] + 2) * 2 + 16 * _EPSILON))
    return _binomial(reals, error)


def _binomial(reals: list[float], error: float) -> Value:
    if len(reals) != 2 or max(map(abs, reals)) > limits.FACTORIAL:
        raise Unmeasurable("binomial out of range")
    upper, lower = reals
    if upper.is_integer() and lower.is_integer() and upper >= 0 and lower >= 0:
        number = float(math.comb(int(upper), int(lower)))
        return Value(complex(number), number * _EPSILON)
    number = math.exp(math.lgamma(upper + 1) - math.lgamma(lower + 1) - math.lgamma(upper - lower + 1))
    if upper - lower + 1 < 0 or upper + 1 < 0 or lower + 1 < 0:
        raise Unmeasurable("binomial out of range")
    return Value(complex(number), number * (1e-13 + 20 * error))
