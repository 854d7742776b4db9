"""Rewriting of parsed answers before they are compared: plus-minus, names of arguments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Bound,
    Bracketed,
    FiniteSet,
    Listing,
    Measured,
    Node,
    PlusMinus,
    Relation,
    Symbol,
    children,
    negated,
    symbols,
    with_children,
)

_MOST_SIGNS: Final = 3


def expand_signs(node: Node) -> Node:
    r"""With `\pm` as a listing of both signs, and listings flat. Several `\pm` have the same sign."""
    if isinstance(node, Listing):
        return Listing(tuple(_flat(node.items)), node.alternatives, node.together)
    if isinstance(node, FiniteSet):
        return FiniteSet(tuple(_flat(node.items)))
    if isinstance(node, Measured):
        inner = expand_signs(node.value)
        return Listing(tuple(Measured(item, node.unit) for item in inner.items)) if isinstance(inner, Listing) else node
    if isinstance(node, Relation):
        return _expand_relation(node)
    if isinstance(node, Bracketed) and any(map(_signs, node.items)):
        return Listing(tuple(_signed_items(node, sign) for sign in (1, -1)))
    if isinstance(node, PlusMinus) and isinstance(node.argument, Bracketed):
        opposite = tuple(map(negated, node.argument.items))
        return Listing((node.argument, Bracketed(node.argument.left, opposite, node.argument.right)))
    if isinstance(node, SCALARS) and _signs(node):
        return Listing((with_sign(node, 1), with_sign(node, -1)))
    return node


def independent_signs(node: Node) -> Node | None:
    r"""`\pm 1 \pm i` with each sign for itself; None where there are not several `\pm`, or too many."""
    count = _signs(node) if isinstance(node, SCALARS) else 0
    if not 1 < count <= _MOST_SIGNS:
        return None
    return Listing(tuple(_chosen(node, iter(choice)) for choice in product((1, -1), repeat=count)))


def _chosen(node: Node, signs: Iterator[int]) -> Node:
    if isinstance(node, PlusMinus):
        sign = next(signs)
        inner = _chosen(node.argument, signs)
        return inner if sign > 0 else negated(inner)
    return with_children(node, lambda child: _chosen(child, signs))


def _signed_items(node: Bracketed, sign: int) -> Bracketed:
    return Bracketed(node.left, tuple(with_sign(item, sign) for item in node.items), node.right)


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
    if set(node.operators) == {"="} and any(map(_signs, node.sides)):
        both = (tuple(with_sign(side, sign) for side in node.sides) for sign in (1, -1))
        return Listing(tuple(Relation(sides, node.operators) for sides in both))  # `3x \\pm 4y = 0`
    return node


def _signs(node: Node) -> int:
    return isinstance(node, PlusMinus) + sum(map(_signs, children(node)))


def with_sign(node: Node, sign: int) -> Node:
    r"""A scalar with every `\pm` read as `sign` and every `\mp` as its opposite."""
    if isinstance(node, PlusMinus):
        inner = with_sign(node.argument, sign)
        return inner if (sign > 0) != node.flipped else negated(inner)
    return with_children(node, lambda child: with_sign(child, sign))


def renamed(node: Node, old: str, new: str) -> Node:
    """A scalar with one of its symbols under another name."""
    return replaced(node, old, Symbol(new))


def with_letter(node: Bound, letter: str) -> Bound:
    """An operator with another name for the letter that it binds."""
    return Bound(node.operator, letter, node.bounds, renamed(node.body, node.letter, letter))


def with_plain_letters(node: Node, depth: int = 0) -> Node:
    """A scalar in which the letters that operators bind are called by their depth: their names mean nothing."""
    if isinstance(node, Bound) and node.operator != "derivative":
        node = with_letter(node, f"bound {depth}")
    return with_children(node, lambda child: with_plain_letters(child, depth + 1))


def replaced(node: Node, name: str, value: Node) -> Node:
    """A scalar with a value in the place of one of its symbols."""
    if isinstance(node, Symbol):
        return value if node.name == name else node
    if isinstance(node, Bound) and (node.letter == name or node.letter in symbols(value)):
        if node.operator == "derivative":
            return node  # its letter stands for any value
        node = with_letter(node, f"{node.letter}'")
    return with_children(node, lambda child: replaced(child, name, value))
