"""Equations, inequalities and memberships: what they say of a name, and when two of them say the same."""

from __future__ import annotations

from collections.abc import Sequence

from areal_mesh.grading.equality.chains import consistent, holds_unknown_function, is_value, modulus_of
from areal_mesh.grading.equality.equations import compare_equations, compare_inequalities
from areal_mesh.grading.equality.scalars import Compare, Outcome
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Bracketed,
    Call,
    Constant,
    Listing,
    Measured,
    Node,
    Product,
    Relation,
    SetOperation,
    Symbol,
    Words,
    symbols,
)
from areal_mesh.grading.trees.rewriting import renamed
from areal_mesh.grading.trees.shapes import ORDERS, interval_of, is_name

_DIFFERENT = Outcome(False, "relation")
_OF_ANGLES = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})
_ORDERED_LETTERS = ("xyz", "abcdef", "pqr", "uvw", "mn")


def value_of(node: Node) -> tuple[Node | None, Node] | None:
    """(name, value) of what a relation says about a name; the node itself where it is no relation.

    None for a relation that says nothing of one name.
    """
    if not isinstance(node, Relation):
        return None, node
    operators = set(node.operators)
    if operators <= {"=", "~"}:
        return _equated(node)
    if operators == {"not in"} and len(node.sides) == 2 and is_name(node.sides[0]):
        return node.sides[0], SetOperation("minus", Symbol("reals"), node.sides[1])
    if operators <= {"in", "to"} and len(node.sides) == 2 and is_name(node.sides[0]):
        return node.sides[0], node.sides[1]
    if len(node.sides) > 3 or "~" in operators:
        return None
    return interval_of(node)


def _equated(node: Relation) -> tuple[Node | None, Node] | None:
    names = [side for side in node.sides if _is_named_side(side)]
    values = [side for side in node.sides if not _is_named_side(side)]
    if not values and any(isinstance(side, Words) for side in node.sides[1:]) and isinstance(node.sides[0], Words):
        return None  # one name for another
    if not values:
        # `y = x`: the last side is the value.
        return (node.sides[0], node.sides[-1]) if len(node.sides) == 2 else None
    if not names:
        plain = [value for value in values if is_value(value)]
        if 0 < len(plain) < len(values) and plain == values[-len(plain) :] and _is_asked_for(values[0], plain[-1]):
            return values[0], plain[-1]
        if modulus_of(node.sides[-1]) is not None and not symbols(node.sides[0]):
            return None, node.sides[-1]
        return (None, values[0]) if all(not symbols(value) for value in values if _is_scalar(value)) else None
    # `3 + 2 = x = 5`: of values that are equal the last is the plainest; `e = c/a = 1/2` has one value.
    plain = [value for value in values if is_value(value)] or values
    return _in_order(names[0], plain[0] if _is_named_side(node.sides[0]) else plain[-1])


def _is_asked_for(node: Node, value: Node) -> bool:
    """Whether an expression is what a question asks for, as `m + n` is; `2x = 5` is a step on the way to x."""
    measured = isinstance(value, Measured) or _is_scalar(value)
    names = symbols(node)
    lengths = bool(names) and all(len(name) > 1 and name.isupper() for name in names)  # `AC^2 = 756`
    return not (_is_scalar(node) and measured) or len(names) > 1 or lengths or holds_unknown_function(node)


def _is_named_side(node: Node) -> bool:
    """As `is_name`, without the modulus of a real unknown: `|x| = 5` does not say what x is."""
    match node:
        case Call("abs", (Symbol(name),)) if len(name) == 1 and name.islower() and name not in "zw":
            return False
        case Call(function, (argument,)) if function in _OF_ANGLES:
            return isinstance(argument, Symbol) and (len(argument.name) > 1 or argument.name.isupper())  # `\cos\theta`
        case Product((Symbol(name), Bracketed("(", arguments, ")"))):
            return len(name) == 1 and all(map(is_name, arguments))  # `p(a, b, c)`
        case _:
            return is_name(node)


def have_an_order(names: Sequence[str]) -> bool:
    """Whether letters have an order of their own; others stand in the order that the question names them in."""
    return any(set(names) <= set(letters) for letters in _ORDERED_LETTERS)


def _in_order(name: Node, value: Node) -> tuple[Node, Node]:
    """`(y, x) = (1, 2)` as what it says of (x, y)."""
    match name, value:
        case Bracketed("(", names, ")"), Bracketed("(", values, ")") if len(names) == len(values):
            pairs = [(item.name, item, at) for item, at in zip(names, values, strict=True) if isinstance(item, Symbol)]
            if len(pairs) == len(names) and have_an_order([letter for letter, _, _ in pairs]):
                pairs.sort(key=lambda pair: pair[0])
                ordered, sorted_values = tuple(item for _, item, _ in pairs), tuple(at for _, _, at in pairs)
                return Bracketed("(", ordered, ")"), Bracketed("(", sorted_values, ")")
    return name, value


def _approximates(node: Node) -> bool:
    r"""Whether a relation says that something with letters in it is nearly so: `y \approx 2x` is no line."""
    if not isinstance(node, Relation) or "~" not in node.operators:
        return False
    return any(isinstance(side, SCALARS) and symbols(side) and not is_name(side) for side in node.sides)


def _is_named(said: tuple[Node | None, Node]) -> bool:
    return said[0] is None or is_name(said[0]) or isinstance(said[0], SetOperation)


def _is_scalar(node: Node) -> bool:
    return isinstance(node, SCALARS)


def compare_relations(gold: Node, answer: Node, compare: Compare, scalars: Compare) -> Outcome:
    """Whether two answers of which at least one is a relation say the same."""
    gold, answer = _with_name(gold), _with_name(answer)
    chains = [consistent(side, compare) for side in (gold, answer) if isinstance(side, Relation)]
    if False in chains:
        return Outcome(False, "forged equality")
    if isinstance(gold, Relation) and isinstance(answer, Relation) and _says_less(gold, answer):
        return _DIFFERENT
    outcome = _compared(gold, answer, compare, scalars)
    return Outcome(None, outcome.rule) if outcome.equal and None in chains else outcome


def _with_name(node: Node) -> Node:
    """`e = 2` as an equation for a name: nobody asks what the constants are worth."""
    match node:
        case Relation((Constant("e" | "i" as letter), *others), operators) if set(operators) == {"="}:
            return Relation((Symbol(letter), *others), operators)
        case _:
            return node


def _says_less(gold: Relation, answer: Relation) -> bool:
    """Whether an answer sets a value beside itself (`4 = 4`), or states a class of residues where the gold has none."""
    if not is_name(answer.sides[0]) and len(set(answer.sides)) == 1:
        return True
    return modulus_of(answer.sides[-1]) is not None and modulus_of(gold.sides[-1]) is None


def _compared(gold: Node, answer: Node, compare: Compare, scalars: Compare) -> Outcome:
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        answer = _with_argument_of(gold, answer)
    if _approximates(answer) and not _approximates(gold):
        return _DIFFERENT
    said, stated = value_of(gold), value_of(answer)
    if said is not None and not _is_named(said):
        said = None  # an equation, that an answer has to be
    if stated is not None and not _is_named(stated) and isinstance(gold, Relation):
        stated = None
    if said is not None and stated is not None:
        if said[0] is None or stated[0] is None or _same_name(said[0], stated[0]):
            outcome = _values(gold, answer, said[1], stated[1], compare)
            if outcome.equal is not False or not _both_equations(gold, answer):
                return outcome
        elif not _both_equations(gold, answer):
            return Outcome(False, "name")
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        if _both_equations(gold, answer):
            return compare_equations(gold, answer, scalars)
        return compare_inequalities(gold, answer, compare, scalars)
    return _DIFFERENT


def _with_argument_of(gold: Relation, answer: Relation) -> Relation:
    """`f(t) = t + 1` as `f(x) = x + 1`, where the reference calls the argument x."""
    named, other = gold.sides[0], answer.sides[0]
    if isinstance(named, Symbol) and isinstance(other, Symbol):
        return _with_index_of(named.name, other.name, answer)
    if not isinstance(named, Call) or not isinstance(other, Call) or named.function != other.function:
        return answer
    match named.arguments, other.arguments:
        case (Symbol(argument),), (Symbol(written),) if argument != written and not (argument + written).isupper():
            if not any(argument in symbols(side) for side in answer.sides) and all(map(_is_scalar, answer.sides)):
                return Relation(tuple(renamed(side, written, argument) for side in answer.sides), answer.operators)
    return answer


def _with_index_of(named: str, written: str, answer: Relation) -> Relation:
    """`a_k = 2k + 1` as `a_n = 2n + 1`, where the reference counts by n."""
    (letter, _, index), (other, _, counted) = named.partition("_"), written.partition("_")
    if letter != other or index == counted or not (index.isalpha() and counted.isalpha() and len(answer.sides) == 2):
        return answer
    right = answer.sides[1]
    if not _is_scalar(right) or index in symbols(right):
        return answer
    return Relation((Symbol(named), renamed(right, counted, index)), answer.operators)


def _values(gold: Node, answer: Node, said: Node, stated: Node, compare: Compare) -> Outcome:
    if any(_is_membership(one) and isinstance(other, Listing) for one, other in ((gold, stated), (answer, said))):
        # `x = 1, 2` names two values, `x \in (1, 2)` what lies between them.
        return _DIFFERENT
    outcome = compare(said, stated)
    rule = "equation" if isinstance(gold, Relation) and "=" in gold.operators else "relation"
    if outcome.equal is False and isinstance(gold, Relation) and "~" in gold.operators:
        # A gold with an approximation offers both.
        outcome = compare(gold.sides[-1], stated)
    return Outcome(outcome.equal, outcome.rule if outcome.rule in ("decimal", "interval") else rule)


def _is_membership(node: Node) -> bool:
    if not isinstance(node, Relation):
        return False
    if set(node.operators) <= ORDERS:
        return True
    return node.operators == ("in",) and isinstance(node.sides[1], Bracketed)


def _both_equations(gold: Node, answer: Node) -> bool:
    return all(isinstance(side, Relation) and side.operators == ("=",) for side in (gold, answer))


def _same_name(left: Node, right: Node) -> bool:
    if left == right:
        return True
    pair = (left, right)
    if any(isinstance(node, SetOperation) for node in pair):
        return True  # a set's name, and that of what is in it
    if any(_is_function_called(node, other) for node, other in (pair, pair[::-1])):
        return True  # `f \\equiv 0` and `f(x) = 0`
    # y and f(x) name the same thing in questions about graphs.
    return any(node == Symbol("y") for node in pair) and any(
        isinstance(node, Call) and node.function in ("f", "f^-1", "g") for node in pair
    )


def _is_function_called(node: Node, name: Node) -> bool:
    match node, name:
        case Call(function, (Symbol(),)), Symbol(letter):
            return function == letter
        case _:
            return False
