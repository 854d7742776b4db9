"""Where agreement in one place tells nothing of another: moduli, floors, extremes, roots and angles of letters."""

from __future__ import annotations

from typing import Final

from areal_mesh.grading.trees.nodes import Call, Node, Number, Power, children, symbols

_KINKED: Final = frozenset({"abs", "Re", "Im", "conjugate", "floor", "ceiling", "max", "min"})
_INVERSE: Final = frozenset({"arcsin", "arccos", "arctan", "arccot"})


def has_kinks(node: Node) -> bool:
    """Whether agreement in one place tells nothing of another, somewhere in a scalar."""
    return is_kinked(node) or any(map(has_kinks, children(node)))


def is_kinked(node: Node) -> bool:
    """Whether a scalar is a modulus, a floor, a part or an extreme, or a root or an angle of what has letters."""
    match node:
        case Call("root", (base, *_)):
            return bool(symbols(base))
        case Call(function, (argument, *_)) if function in _INVERSE:
            return bool(symbols(argument))  # `\arcsin\sin x`
        case Call(function, _):
            return function in _KINKED
        case Power(base, exponent):
            return (not isinstance(exponent, Number) or exponent.value.denominator > 1) and bool(symbols(base))
        case _:
            return False
