"""What stands for several things at once: `x = y = 2` for two values, "otherwise" for what other conditions leave."""

from __future__ import annotations

from areal_mesh.grading.equality.listings import union_of
from areal_mesh.grading.trees.nodes import Bracketed, FiniteSet, Listing, Node, Relation, SetOperation, Symbol, Words
from areal_mesh.grading.trees.shapes import interval_of

_OTHERWISE = Words("otherwise")


def spread(node: Node, other: Node) -> Node:
    """`x = y = 2` as `x = 2, y = 2` beside a point or a listing; other nodes as they are."""
    if isinstance(node, Relation) and isinstance(other, Bracketed | Listing):
        return Listing(_assignments(node)) if len(node.sides) > 2 and _assigns_alike(node) else node
    if isinstance(node, Listing) and any(map(_assigns_alike, node.items)):
        return Listing(
            tuple(one for item in node.items for one in _assignments(item)), node.alternatives, node.together
        )
    return node


def _assigns_alike(node: Node) -> bool:
    if not isinstance(node, Relation) or set(node.operators) != {"="} or len(node.sides) < 3:
        return False
    names = node.sides[:-1]
    return all(isinstance(name, Symbol) for name in names) and len(set(names)) == len(names)


def _assignments(node: Node) -> tuple[Node, ...]:
    if not isinstance(node, Relation) or not _assigns_alike(node):
        return (node,)
    return tuple(Relation((name, node.sides[-1]), ("=",)) for name in node.sides[:-1])


def worked_out(node: Node, other: Node) -> Node:
    """Cases with their "otherwise" as what the other conditions leave, beside cases without one; others as they are."""
    pairs, others = _cases_of(node), _cases_of(other)
    if _OTHERWISE not in [condition for _, condition in pairs] or _OTHERWISE in [condition for _, condition in others]:
        return node
    said = [_bounded(condition) for _, condition in pairs if condition != _OTHERWISE]
    found = [bound for bound in said if bound is not None]
    if not found or len(found) < len(said) or len({str(name) for name, _ in found}) > 1:
        return node
    rest = Relation(
        (found[0][0], SetOperation("minus", Symbol("reals"), union_of([part for _, part in found]))), ("in",)
    )
    return FiniteSet(
        tuple(
            Bracketed("(", (value, rest if condition == _OTHERWISE else condition), ")") for value, condition in pairs
        )
    )


def _bounded(condition: Node) -> tuple[Node, Node] | None:
    return interval_of(condition) if isinstance(condition, Relation) else None


def _cases_of(node: Node) -> list[tuple[Node, Node]]:
    """(value, condition) of each case; empty for what is no set of pairs."""
    if not isinstance(node, FiniteSet):
        return []
    pairs = [
        (item.items[0], item.items[1]) for item in node.items if isinstance(item, Bracketed) and len(item.items) == 2
    ]
    return pairs if len(pairs) == len(node.items) else []
