"""What a tree is beside its value: a name, an interval, a vector."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.trees.lines import line_of
from areal_mesh.grading.trees.nodes import (
    Bound,
    Bracketed,
    Call,
    Constant,
    FiniteSet,
    Matrix,
    Node,
    Number,
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
        case Bound():
            return True
        case Call(function, (Symbol(bounds), body)) if "\\" + function in BIG_OPERATORS:
            return bool(bounds or symbols(body))
        case Call(function, arguments):
            plain = function.removesuffix("^-1").rstrip("'")
            applied = function.startswith("apply ") or plain in ("f", "g", "F", "G", "prime", "abs")
            return applied and all(is_name(part) or isinstance(part, Number) for part in arguments)
        case Bracketed(_, items, _) | Ratio(items):
            return all(is_name(item) for item in items)
        case Matrix(rows):
            return all(is_name(cell) for row in rows for cell in row)
        case Quotient(top, bottom):
            lengths = all(isinstance(part, Symbol) and len(part.name) > 1 for part in (top, bottom))
            return lengths or (_is_differential(top) and _is_differential(bottom))
        case Product(factors) if not _is_differential(node):
            named = [factor.name for factor in factors if isinstance(factor, Symbol)]
            return len(named) == len(factors) and any(name.startswith(("angle ", "triangle ")) for name in named)
        case _:
            return _is_differential(node)


def _is_differential(node: Node) -> bool:
    """Whether a node is `dx`, or a part of `d^2y` over `dx^2`."""
    match node:
        case Product((Symbol("d") | Power(Symbol("d"), Number()), Symbol(name) | Power(Symbol(name), Number()))):
            return len(name) == 1
        case _:
            return False


def interval_of(node: Relation) -> tuple[Node, Node] | None:
    """(name, set) of an inequality that bounds one name by what does not hold it."""
    sides, operators = node.sides, node.operators
    if len(sides) == 2:
        if not _is_bounded(sides[0]) and _is_bounded(sides[1]) and operators[0] in _FLIPPED:
            sides, operators = sides[::-1], (_FLIPPED[operators[0]],)
        name, bound = sides
        if isinstance(name, Call) and name.function == "abs" and is_positive(bound):
            return _absolute_interval(name, bound, operators[0])
        if not is_name(name) or is_name(bound):
            return None
        match operators[0]:
            case "<" | "<=":
                return name, Bracketed("(", (MINUS_INFINITY, bound), "]" if operators[0] == "<=" else ")")
            case ">" | ">=":
                return name, Bracketed("[" if operators[0] == ">=" else "(", (bound, INFINITY), ")")
            case "!=":
                return name, SetOperation("minus", Symbol("reals"), FiniteSet((bound,)))
        return None
    if len(sides) != 3 or not _is_bounded(sides[1]):
        return None
    if all(operator in (">", ">=") for operator in operators):
        sides, operators = sides[::-1], (_FLIPPED[operators[1]], _FLIPPED[operators[0]])
    if not all(operator in ("<", "<=") for operator in operators):
        return None
    left, right = ("[" if operators[0] == "<=" else "("), ("]" if operators[1] == "<=" else ")")
    name = sides[1]
    if isinstance(name, Call) and name.function == "abs":
        return _absolute_shell(name, sides, operators)
    return sides[1], Bracketed(left, (sides[0], sides[2]), right)  # type: ignore[arg-type]


def _is_bounded(node: Node) -> bool:
    """Whether a side of an inequality may be what the other one bounds: a name, or a modulus."""
    return is_name(node) or (isinstance(node, Call) and node.function == "abs" and bool(symbols(node)))


def is_positive(node: Node) -> bool:
    value = rational(node)
    return value is not None and value > 0


def _absolute_interval(name: Call, bound: Node, operator: str) -> tuple[Node, Node] | None:
    """`|x - 1| < 2` as the interval between -1 and 3, `|x - 1| > 2` as what is left of the line."""
    inner = name.arguments[0]
    line = line_of(inner)
    if line is None or not line[1] or operator not in ("<", "<=", ">", ">="):
        return None
    letter, (_, slope, rest) = Symbol(line[0]), line
    ends: list[Node] = [negated(bound), bound]
    if inner != letter:
        ends = [Quotient(Sum((end, negated(rest))), Number(slope)) for end in ends]
    if slope < 0:
        ends.reverse()
    closed = operator.endswith("=")
    if operator.startswith("<"):
        return letter, Bracketed("[" if closed else "(", (ends[0], ends[1]), "]" if closed else ")")
    low = Bracketed("(", (MINUS_INFINITY, ends[0]), "]" if closed else ")")
    high = Bracketed("[" if closed else "(", (ends[1], INFINITY), ")")
    return letter, SetOperation("union", low, high)


def _absolute_shell(name: Call, sides: tuple[Node, ...], operators: tuple[str, ...]) -> tuple[Node, Node] | None:
    """`1 < |x| < 2` as what lies outside the one bound and inside the other."""
    low, high = rational(sides[0]), rational(sides[2])
    outside = _absolute_interval(name, sides[0], operators[0].replace("<", ">"))
    inside = _absolute_interval(name, sides[2], operators[1])
    if low is None or high is None or not 0 <= low < high or outside is None or inside is None:
        return None
    return outside[0], SetOperation("intersection", outside[1], inside[1])


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
