"""The bounded expression tree that answers are parsed into.

Scalars are `Number`, `Symbol`, `Constant`, `Sum`, `Product`, `Quotient`, `Power`, `Call`, `Bound` and `PlusMinus`; the
rest are the shapes an answer can have around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction
    decimals: int | None = None
    """Digits written after the decimal point; None for a number that is exact as written."""


@dataclass(frozen=True, slots=True)
class Symbol:
    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    name: Literal["pi", "e", "i", "infinity"]


@dataclass(frozen=True, slots=True)
class Sum:
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    numerator: Node
    denominator: Node


@dataclass(frozen=True, slots=True)
class Power:
    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Call:
    """A function of its arguments, `degree` and `percent` included."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """An operator that binds a letter: a sum or product between bounds, an integral, a limit, a derivative."""

    operator: Literal["sum", "prod", "int", "lim", "lim+", "lim-", "derivative"]
    letter: str
    bounds: tuple[Node, ...]
    """The first and the last value, where a limit goes, or the order of a derivative."""
    body: Node


@dataclass(frozen=True, slots=True)
class PlusMinus:
    argument: Node
    flipped: bool = False
    r"""True for `\mp`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity with the unit written after it, or a currency before it."""

    value: Node
    unit: str


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple, point, vector or interval: which of them, only the question knows."""

    left: Literal["(", "[", "<"]
    items: tuple[Node, ...]
    right: Literal[")", "]", ">"]


@dataclass(frozen=True, slots=True)
class Listing:
    """Answers side by side, with commas or "and" or "or" between them: their order does not matter."""

    items: tuple[Node, ...]
    alternatives: bool = False
    """"Or" stands between them."""
    together: bool = False
    """"And" stands between them."""


@dataclass(frozen=True, slots=True)
class FiniteSet:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class SetOperation:
    operator: Literal["union", "intersection", "minus"]
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain such as `a < x <= b`: operators between sides."""

    sides: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a : b : c`, which is a time of day where it is written like one."""

    items: tuple[Node, ...]
    clock: bool = False
    half: Literal["", "am", "pm"] = ""
    """The half of the day that is written after a time."""


@dataclass(frozen=True, slots=True)
class BasedNumber:
    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    """Lower case, single spaces, no punctuation at the ends."""


DOTS: Final = Symbol("...")
"""What is left out of a sequence, a sum or a product: it stands for itself."""

Scalar: TypeAlias = Number | Symbol | Constant | Sum | Product | Quotient | Power | Call | Bound | PlusMinus
Node: TypeAlias = (
    Scalar | Measured | Bracketed | Listing | FiniteSet | SetOperation | Matrix | Relation | Ratio | BasedNumber | Words
)

SCALARS = (Number, Symbol, Constant, Sum, Product, Quotient, Power, Call, Bound, PlusMinus)


class Unparsed(ValueError):
    """The text is no expression within the bounds."""


def negated(node: Node) -> Node:
    if isinstance(node, Number):
        return Number(-node.value, node.decimals)
    if isinstance(node, BasedNumber):
        return BasedNumber(node.digits.removeprefix("-") if node.digits[0] == "-" else "-" + node.digits, node.base)
    return Product((Number(Fraction(-1)), node))


_CHILDREN: Final[dict[type, Callable[[Any], tuple[Node, ...]]]] = {
    Sum: lambda node: node.terms,
    Product: lambda node: node.factors,
    Call: lambda node: node.arguments,
    Quotient: lambda node: (node.numerator, node.denominator),
    Power: lambda node: (node.base, node.exponent),
    Bound: lambda node: (*node.bounds, node.body),
    PlusMinus: lambda node: (node.argument,),
}
"""By type: every rule walks a tree, and a match of patterns takes twice the time."""


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly inside a scalar."""
    inside = _CHILDREN.get(type(node))
    return inside(node) if inside is not None else ()


def with_children(node: Node, change: Callable[[Node], Node]) -> Node:
    """A scalar with each node directly inside it changed; any other node as it is."""
    match node:
        case Sum(terms):
            return Sum(tuple(map(change, terms)))
        case Product(factors):
            return Product(tuple(map(change, factors)))
        case Quotient(top, bottom):
            return Quotient(change(top), change(bottom))
        case Power(base, exponent):
            return Power(change(base), change(exponent))
        case Call(name, arguments):
            return Call(name, tuple(map(change, arguments)))
        case Bound(operator, letter, bounds, body):
            return Bound(operator, letter, tuple(map(change, bounds)), change(body))
        case PlusMinus(argument, flipped):
            return PlusMinus(change(argument), flipped)
        case _:
            return node


def symbols(node: Node) -> frozenset[str]:
    """Names of the free symbols in a scalar."""
    if isinstance(node, Symbol):
        return frozenset((node.name,))
    if isinstance(node, Bound) and node.operator != "derivative":
        return frozenset().union(*map(symbols, node.bounds), symbols(node.body) - {node.letter})
    found: frozenset[str] = frozenset()
    for child in children(node):
        found |= symbols(child)
    return found


def has_decimals(node: Node) -> bool:
    if isinstance(node, Number):
        return node.decimals is not None
    return any(has_decimals(child) for child in children(node))


def has_operators(node: Node) -> bool:
    """Whether an operator that binds a letter is in a scalar."""
    return isinstance(node, Bound) or any(map(has_operators, children(node)))
