"""What the items of a listing say together: a union, a point, a family with its condition."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce

from areal_mesh.grading.equality.intervals import intervals_of, is_interval_set
from areal_mesh.grading.equality.relations import have_an_order, value_of
from areal_mesh.grading.trees.nodes import (
    DOTS,
    SCALARS,
    Bracketed,
    FiniteSet,
    Listing,
    Node,
    Relation,
    SetOperation,
    Symbol,
    Words,
    symbols,
)
from areal_mesh.grading.trees.rewriting import renamed
from areal_mesh.grading.trees.shapes import ORDERS, interval_of

_INDEXED = re.compile(r"([xzrtABCDFMPQ])_\d+")
_USUAL_INTEGERS = frozenset("nkm")
_BOUNDS = ORDERS | {"!="}
_PLAIN_DOMAINS = frozenset({Symbol("reals"), Symbol("complexes")})
_DOMAINS = frozenset({"integers", "naturals", "reals", "rationals", "complexes"})


def items_of(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Listing | FiniteSet | Bracketed) else (node,)


def united(node: Node, other: Node, *, reference: bool) -> Node:
    """`x < -1 or x > 4` as the union of two half-lines, `x > 1 and x < 4` as what they share; other nodes as they are.

    With a comma, and in a reference with "and" too, half-lines that share nothing are meant as a union.
    """
    if not isinstance(node, Listing):
        return node
    if isinstance(other, SetOperation) and all(map(_can_be_interval, node.items)):
        return union_of(node.items)
    items = _exclusions(node.items)
    if not all(isinstance(item, Relation) for item in items):
        return node
    parts = [interval_of(item) for item in items if isinstance(item, Relation)]
    if node.alternatives and any(parts):
        parts = [part or _point_of(item) for part, item in zip(parts, items, strict=True)]
    found = [part for part in parts if part is not None]
    if len(found) < len(items) or len({str(name) for name, _ in found}) > 1:
        return node
    sets = [part for _, part in found]
    shared = reduce(lambda left, right: SetOperation("intersection", left, right), sets)
    if not node.alternatives and (intervals_of(shared) or (node.together and not reference)):
        return shared
    return union_of(sets)


def _point_of(node: Node) -> tuple[Node, Node] | None:
    """(name, set) of `x = 1`, and of `x \\in \\{1, 2\\}`."""
    match node:
        case Relation((Symbol() as name, value), ("=",)) if isinstance(value, SCALARS):
            return name, FiniteSet((value,))
        case Relation((Symbol() as name, FiniteSet() | SetOperation() as values), ("in",)):
            return name, values
        case _:
            return None


def _can_be_interval(node: Node) -> bool:
    return is_interval_set(node) or (isinstance(node, Bracketed) and len(node.items) == 2)


def _exclusions(items: tuple[Node, ...]) -> tuple[Node, ...]:
    """`x \\ne 1, 2` with its name before each value."""
    first = items[0]
    if not isinstance(first, Relation) or first.operators != ("!=",):
        return items
    return tuple(Relation((first.sides[0], item), ("!=",)) if isinstance(item, SCALARS) else item for item in items)


def union_of(sets: Sequence[Node]) -> Node:
    return reduce(lambda left, right: SetOperation("union", left, right), sets)


def families(gold: Node, answer: Node) -> tuple[Node, Node]:
    """Both sides without what they say of their letters, and with the same letter for an integer.

    `2 k pi` and `2 n pi` are one family where k and n are any integers.
    """
    if _domains(gold) and _domains(answer) and _domains(gold) != _domains(answer):
        return gold, answer
    stated, named = _integer_letters(gold), _integer_letters(answer)
    both = _has_bound(gold) and _has_bound(answer)
    gold, answer = _without_conditions(gold, bounds=not both), _without_conditions(answer, bounds=not both)
    if len(stated) > 1 or len(named) > 1 or not (stated or named):
        return gold, answer
    old = named or ((_letters(answer) - _letters(gold)) & _USUAL_INTEGERS)
    new = stated or ((_letters(gold) - _letters(answer)) & _USUAL_INTEGERS)
    if len(old) == len(new) == 1 and not new & _letters(answer):
        answer = _with_letter(answer, next(iter(old)), next(iter(new)))
    return gold, answer


def _has_bound(node: Node) -> bool:
    """Whether a listing bounds the letters of its first item: `x + 1, x > 0`."""
    return isinstance(node, Listing) and any(_is_bound_on(item, node.items[0]) for item in node.items)


def _without_conditions(node: Node, *, bounds: bool) -> Node:
    if not isinstance(node, Listing):
        return node
    others = tuple(item for item in node.items if not _is_membership(item))
    bounded = any(not isinstance(item, Relation) or set(item.operators) & _BOUNDS for item in others)
    letters = frozenset[str]().union(*(_letters(item) for item in others if not isinstance(item, Relation)))
    kept = tuple(item for item in node.items if not _is_droppable(item, bounded, letters))
    if bounds and len(kept) == len(node.items) and _is_formula(kept[0]) and not node.alternatives:
        kept = tuple(item for item in kept if not _is_bound_on(item, kept[0]))
    if not kept:
        return node
    return kept[0] if len(kept) == 1 else Listing(kept, node.alternatives, node.together)


def _domains(node: Node) -> frozenset[Node]:
    if not isinstance(node, Listing):
        return frozenset()
    return frozenset(item.sides[1] for item in node.items if isinstance(item, Relation) and _is_membership(item))


def _integer_letters(node: Node) -> frozenset[str]:
    if not isinstance(node, Listing):
        return frozenset()
    members = [item for item in node.items if isinstance(item, Relation) and _is_membership(item)]
    whole = (Symbol("integers"), Symbol("naturals"))
    return frozenset(
        member.sides[0].name for member in members if isinstance(member.sides[0], Symbol) and member.sides[1] in whole
    )


def _is_membership(node: Node) -> bool:
    if not isinstance(node, Relation) or node.operators != ("in",):
        return False
    name, domain = node.sides
    return isinstance(name, Symbol) and isinstance(domain, Symbol) and domain.name in _DOMAINS


def _is_droppable(node: Node, bounded: bool, letters: frozenset[str]) -> bool:
    """Whether a membership only says what any letter is: a real one, or an integer in what is said of it."""
    if not isinstance(node, Relation) or not _is_membership(node):
        return False
    return node.sides[1] in _PLAIN_DOMAINS or not bounded or symbols(node.sides[0]) <= letters


def _is_formula(node: Node) -> bool:
    """Whether a condition on its letters may follow: an expression, a point, an equation."""
    return isinstance(node, (*SCALARS, Bracketed)) or (isinstance(node, Relation) and node.operators == ("=",))


def _is_bound_on(node: Node, formula: Node) -> bool:
    if not isinstance(node, Relation) or node is formula:
        return False
    member = node.operators == ("in",) and isinstance(node.sides[1], Bracketed | SetOperation | FiniteSet)
    if not (set(node.operators) <= _BOUNDS or member):
        return False
    if isinstance(formula, Relation) and isinstance(formula.sides[0], Symbol):
        return bool(_letters(node)) and _letters(node) <= _letters(formula.sides[1]) | _indices(formula)
    return bool(_letters(node)) and _letters(node) <= _letters(formula)


def _indices(node: Node) -> frozenset[str]:
    """The letters that mark the terms of a sequence: n of `a_n`."""
    return frozenset(name.rpartition("_")[2] for name in _letters(node) if "_" in name)


def _with_letter(node: Node, old: str, new: str) -> Node:
    match node:
        case Listing(items, alternatives, together):
            return Listing(tuple(_with_letter(item, old, new) for item in items), alternatives, together)
        case FiniteSet(items):
            return FiniteSet(tuple(_with_letter(item, old, new) for item in items))
        case Bracketed(left, items, right):
            return Bracketed(left, tuple(_with_letter(item, old, new) for item in items), right)
        case Relation(sides, operators):
            return Relation(tuple(_with_letter(side, old, new) for side in sides), operators)
        case _:
            return renamed(node, old, new) if isinstance(node, SCALARS) else node


def _letters(node: Node) -> frozenset[str]:
    if isinstance(node, Relation):
        return frozenset().union(*map(_letters, node.sides))
    if isinstance(node, Listing | FiniteSet | Bracketed):
        return frozenset().union(*map(_letters, node.items))
    return symbols(node) if isinstance(node, SCALARS) else frozenset()


def coordinates_of(listing: Listing) -> tuple[Node, ...] | None:
    """The coordinates that a listing can be of a point: those called x, y, z or a, b, c in the order of their letters.

    None where it cannot: two values of one name are two values, `x = 1, x = 2` and `x = 1, 2` alike.
    """
    if not any(isinstance(item, Relation) for item in listing.items):
        return listing.items
    pairs: list[tuple[str, Node]] = []
    for item in listing.items:
        said = value_of(item)
        if said is None or not isinstance(said[0], Symbol):
            return None
        pairs.append((said[0].name, said[1]))
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        return None
    if have_an_order(names):
        pairs.sort(key=lambda pair: pair[0])
    return tuple(value for _, value in pairs)


def _are_indices(names: set[str]) -> bool:
    """Whether names are an unknown's with numbers: which root is the first, nobody says."""
    found = [_INDEXED.fullmatch(name) for name in names]
    return len({match and match[1] for match in found}) == 1 and None not in found


def must_keep_order(golds: Sequence[Node], answers: Sequence[Node]) -> bool:
    """Whether items mean different things by their place: values of several names, or words in a ranking."""
    if DOTS in golds or DOTS in answers:
        return True
    for items, others in ((golds, answers), (answers, golds)):
        found = [value[0] for value in map(value_of, items) if value is not None and value[0] is not None]
        names = {node.name if isinstance(node, Symbol) else str(node) for node in found}
        if len(names) > 1 and not _are_indices(names) and not any(isinstance(other, Relation) for other in others):
            return True
    return all(isinstance(item, Words) and len(item.text) > 1 for item in (*golds, *answers))
