"""What a tree is beside its value: a name, an interval, a vector."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.trees.nodes import (
    Bracketed,
    Call,
    Constant,
    FiniteSet,
    Matrix,
    Node,
    Number,
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
    symbols,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.vocabulary import BIG_OPERATORS, HEDGES, NUMBER_SETS, NUMBER_WORDS

INFINITY = Constant("infinity")
MINUS_INFINITY = Product((Number(Fraction(-1)), INFINITY))
ORDERS = frozenset({"<", "<=", ">", ">="})
"""Operators that bound what stands beside them."""
_NUMBER_SETS = frozenset(command[1:].lower() for command in NUMBER_SETS.values())
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "~": "~", "in": "in", "to": "to"}


def is_name(node: Node) -> bool:
    """Whether a side of a relation only names what the other side is worth: `x`, `f(x)`, `AB`, `(x, y)`."""
    match node:
        case Words(text):
            return not any(word in HEDGES or word in NUMBER_WORDS or word[0].isdigit() for word in text.split())
        case Symbol(name):
            return name not in _NUMBER_SETS
        case Call(function, (Symbol(bounds), body)) if "\\" + function in BIG_OPERATORS:
            return bool(bounds or symbols(body))
        case Call(function, arguments):
            plain = function.removesuffix("^-1")
            applied = function.startswith("apply ") or plain in ("f", "g", "F", "G", "prime", "abs")
            return applied and all(is_name(part) or isinstance(part, Number) for part in arguments)
        case Bracketed(_, items, _) | Ratio(items):
            return all(is_name(item) for item in items)
        case Matrix(rows):
            return all(is_name(cell) for row in rows for cell in row)
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
        if not is_name(sides[0]) and is_name(sides[1]) and operators[0] in _FLIPPED:
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


_AXES: Final = {Constant("i"): 0, Symbol("i"): 0, Symbol("hat i"): 0, Symbol("j"): 1, Symbol("hat j"): 1,
    Symbol("k"): 2, Symbol("hat k"): 2}  # fmt: skip


def unit_vectors(node: Node) -> tuple[Node, ...] | None:
    """Components of `3i + j - 2k`; None for what is no combination of unit vectors, or may be a complex number."""
    terms = node.terms if isinstance(node, Sum) else (node,)
    components: dict[int, Node] = {}
    for term in terms:
        factors = _factors(term)
        axes = [factor for factor in factors if factor in _AXES]
        if len(axes) != 1 or _AXES[axes[0]] in components:
            return None
        rest = tuple(factor for factor in factors if factor is not axes[0])
        components[_AXES[axes[0]]] = Product(rest) if rest else Number(Fraction(1))
    if not components or max(components) == 0:
        return None
    return tuple(components.get(axis, Number(Fraction(0))) for axis in range(max(components) + 1))


def _factors(node: Node) -> tuple[Node, ...]:
    if not isinstance(node, Product):
        return (node,)
    return tuple(part for factor in node.factors for part in _factors(factor))


def count_nodes(node: Node) -> int:
    """Nodes of a scalar, counted up to the bound and one beyond."""
    total = 0
    waiting = [node]
    while waiting and total <= limits.NODES:
        total += 1
        waiting.extend(children(waiting.pop()))
    return total
