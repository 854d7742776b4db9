"""Rewriting of answers into the shapes that are compared: plus-minus, names, intervals, units."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from areal_mesh.verifier import limits
from areal_mesh.verifier.nodes import (
    SCALARS,
    Bracketed,
    Call,
    Constant,
    FiniteSet,
    Listing,
    Matrix,
    Measured,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quotient,
    Ratio,
    Relation,
    SetOperation,
    Sum,
    Symbol,
    Words,
    children,
    negated,
)
from areal_mesh.verifier.rationals import rational
from areal_mesh.verifier.vocabulary import BIG_OPERATORS

INFINITY = Constant("infinity")
MINUS_INFINITY = Product((Number(Fraction(-1)), INFINITY))
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "~": "~", "in": "in", "to": "to"}


def expand_signs(node: Node) -> Node:
    r"""With `\pm` as a listing of both signs, and listings flat."""
    if isinstance(node, Listing):
        return Listing(tuple(_flat(node.items)), node.alternatives)
    if isinstance(node, FiniteSet):
        return FiniteSet(tuple(_flat(node.items)))
    if isinstance(node, Measured):
        inner = expand_signs(node.value)
        return Listing(tuple(Measured(item, node.unit) for item in inner.items)) if isinstance(inner, Listing) else node
    if isinstance(node, Relation):
        return _expand_relation(node)
    if isinstance(node, SCALARS) and _has_signs(node):
        return Listing((with_sign(node, 1), with_sign(node, -1)))
    return node


def _flat(items: tuple[Node, ...]) -> Iterator[Node]:
    for item in items:
        expanded = expand_signs(item)
        if isinstance(expanded, Listing):
            yield from expanded.items
        else:
            yield expanded


def _expand_relation(node: Relation) -> Node:
    last = expand_signs(node.sides[-1])
    if node.operators[-1] == "=" and isinstance(last, Listing):
        return Listing(tuple(Relation((*node.sides[:-1], item), node.operators) for item in last.items))
    return node


def _has_signs(node: Node) -> bool:
    return isinstance(node, PlusMinus) or any(_has_signs(child) for child in children(node))


def with_sign(node: Node, sign: int) -> Node:
    r"""A scalar with every `\pm` read as `sign` and every `\mp` as its opposite."""
    match node:
        case PlusMinus(argument, flipped):
            inner = with_sign(argument, sign)
            return inner if (sign > 0) != flipped else negated(inner)
        case Sum(terms):
            return Sum(tuple(with_sign(term, sign) for term in terms))
        case Product(factors):
            return Product(tuple(with_sign(factor, sign) for factor in factors))
        case Quotient(top, bottom):
            return Quotient(with_sign(top, sign), with_sign(bottom, sign))
        case Power(base, exponent):
            return Power(with_sign(base, sign), with_sign(exponent, sign))
        case Call(name, arguments):
            return Call(name, tuple(with_sign(argument, sign) for argument in arguments))
        case _:
            return node


def renamed(node: Node, old: str, new: str) -> Node:
    """A scalar with one of its symbols under another name."""
    match node:
        case Symbol(name):
            return Symbol(new) if name == old else node
        case Sum(terms):
            return Sum(tuple(renamed(term, old, new) for term in terms))
        case Product(factors):
            return Product(tuple(renamed(factor, old, new) for factor in factors))
        case Quotient(top, bottom):
            return Quotient(renamed(top, old, new), renamed(bottom, old, new))
        case Power(base, exponent):
            return Power(renamed(base, old, new), renamed(exponent, old, new))
        case Call(name, arguments):
            return Call(name, tuple(renamed(argument, old, new) for argument in arguments))
        case PlusMinus(argument, flipped):
            return PlusMinus(renamed(argument, old, new), flipped)
        case _:
            return node


def is_name(node: Node) -> bool:
    """Whether a side of a relation only names what the other side is worth: `x`, `f(x)`, `AB`, `(x, y)`."""
    match node:
        case Symbol() | Words():
            return True
        case Call(function, _) if "\\" + function in BIG_OPERATORS:
            return True
        case Call(function, arguments):
            applied = function.startswith("apply ") or function in ("f", "g", "F", "G", "prime", "abs")
            return applied and all(is_name(part) or isinstance(part, Number) for part in arguments)
        case Bracketed(_, items, _) | Ratio(items):
            return all(is_name(item) for item in items)
        case Quotient(top, bottom):
            return all(isinstance(part, Symbol) and len(part.name) > 1 for part in (top, bottom))
        case Product(factors):
            named = [factor.name for factor in factors if isinstance(factor, Symbol)]
            return len(named) == len(factors) and any(name.startswith(("angle ", "triangle ")) for name in named)
        case _:
            return False


def interval_of(node: Relation) -> tuple[Node, Node] | None:
    """(name, set) of an inequality that bounds one name by what does not hold it."""
    sides, operators = node.sides, node.operators
    if len(sides) == 2:
        if not is_name(sides[0]) and is_name(sides[1]):
            sides, operators = sides[::-1], (_FLIPPED[operators[0]],)
        name, bound = sides
        if not is_name(name) or is_name(bound):
            return None
        if isinstance(name, Call) and name.function == "abs" and is_positive(bound):
            return _absolute_interval(name, bound, operators[0])
        match operators[0]:
            case "<" | "<=":
                return name, Bracketed("(", (MINUS_INFINITY, bound), "]" if operators[0] == "<=" else ")")
            case ">" | ">=":
                return name, Bracketed("[" if operators[0] == ">=" else "(", (bound, INFINITY), ")")
            case "!=":
                return name, SetOperation("minus", Symbol("reals"), FiniteSet((bound,)))
        return None
    if len(sides) != 3 or not is_name(sides[1]):
        return None
    if all(operator in (">", ">=") for operator in operators):
        sides, operators = sides[::-1], (_FLIPPED[operators[1]], _FLIPPED[operators[0]])
    if not all(operator in ("<", "<=") for operator in operators):
        return None
    left, right = ("[" if operators[0] == "<=" else "("), ("]" if operators[1] == "<=" else ")")
    name = sides[1]
    if isinstance(name, Call) and name.function == "abs" and isinstance(name.arguments[0], Symbol):
        return _absolute_shell(name.arguments[0], sides, operators)
    return sides[1], Bracketed(left, (sides[0], sides[2]), right)  # type: ignore[arg-type]


def is_positive(node: Node) -> bool:
    value = rational(node)
    return value is not None and value > 0


def _absolute_interval(name: Call, bound: Node, operator: str) -> tuple[Node, Node] | None:
    """`|x| < 2` as the interval between -2 and 2, `|x| > 2` as what is left of the line."""
    inner = name.arguments[0]
    if not isinstance(inner, Symbol) or operator not in ("<", "<=", ">", ">="):
        return None
    closed = operator.endswith("=")
    if operator.startswith("<"):
        return inner, Bracketed("[" if closed else "(", (negated(bound), bound), "]" if closed else ")")
    low = Bracketed("(", (MINUS_INFINITY, negated(bound)), "]" if closed else ")")
    high = Bracketed("[" if closed else "(", (bound, INFINITY), ")")
    return inner, SetOperation("union", low, high)


def _absolute_shell(name: Node, sides: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Node, Node] | None:
    """`1 < |x| < 2` as the intervals on both sides of zero."""
    low, high = sides[0], sides[2]
    if not is_positive(low) or not is_positive(high):
        return None
    inner, outer = operators[0] == "<=", operators[1] == "<="
    below = Bracketed("[" if outer else "(", (negated(high), negated(low)), "]" if inner else ")")
    above = Bracketed("[" if inner else "(", (low, high), "]" if outer else ")")
    return name, SetOperation("union", below, above)


def vector_items(node: Node) -> tuple[Node, ...] | None:
    """Components of a row, column, point or vector."""
    if isinstance(node, Bracketed):
        return node.items if (node.left, node.right) in (("(", ")"), ("<", ">"), ("[", "]")) else None
    if isinstance(node, Matrix):
        if len(node.rows) == 1:
            return node.rows[0]
        if all(len(row) == 1 for row in node.rows):
            return tuple(row[0] for row in node.rows)
    return None


def count_nodes(node: Node) -> int:
    """Nodes of a scalar, counted up to the bound and one beyond."""
    total = 0
    waiting = [node]
    while waiting and total <= limits.NODES:
        total += 1
        waiting.extend(children(waiting.pop()))
    return total
