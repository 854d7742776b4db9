r"""Classes of residues: `x \equiv 4 \pmod 7` and `x = 7k + 4, k \in \mathbb{Z}` say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from areal_mesh.grading.equality.scalars import Outcome
from areal_mesh.grading.trees.lines import line_of
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    FiniteSet,
    Listing,
    Measured,
    Node,
    Relation,
    Symbol,
)
from areal_mesh.grading.trees.rationals import rational

_PARAMETERS = frozenset("kmntjl")
_INTEGERS = Symbol("integers")


@dataclass(frozen=True, slots=True)
class _Classes:
    """What a name is congruent to."""

    name: str | None
    modulus: int
    residues: frozenset[int]


def compare_residues(gold: Node, answer: Node) -> Outcome | None:
    """Whether two answers state the same classes; None where not both do, or neither does by a modulus."""
    if not (_has_modulus(gold) or _has_modulus(answer)):
        return None
    said, stated = _classes(gold), _classes(answer)
    if said is None or stated is None:
        return None
    same = said.name == stated.name or None in (said.name, stated.name)
    return Outcome(same and (said.modulus, said.residues) == (stated.modulus, stated.residues), "congruence")


def _has_modulus(node: Node) -> bool:
    match node:
        case Listing(items) | FiniteSet(items):
            return any(map(_has_modulus, items))
        case Relation(sides, ("=",)):
            return isinstance(sides[1], Measured) and sides[1].unit.startswith("mod ")
        case _:
            return False


def _classes(node: Node) -> _Classes | None:
    r"""The classes that a congruence, a family or several of them state: `x \equiv 1, 4 \pmod 5`, `7k + 4`."""
    items = node.items if isinstance(node, Listing | FiniteSet) else (node,)
    kept = [item for item in items if not _is_parameter(item)]
    found = list(_read(kept))
    if not found or len(found) < len(kept):
        return None
    name, modulus = found[-1].name, found[-1].modulus
    if any(one.modulus not in (0, modulus) or one.name not in (None, name) for one in found) or not modulus:
        return None
    residues = frozenset(residue % modulus for one in found for residue in one.residues)
    return _Classes(found[0].name or name, modulus, residues)


def _read(items: list[Node]) -> Iterator[_Classes]:
    name: str | None = None
    for item in items:
        value = item
        match item:
            case Relation((Symbol(letter), right), ("=",)):
                name, value = letter, right
        modulus = 0
        if isinstance(value, Measured) and value.unit.removeprefix("mod ").isdigit():
            modulus, value = int(value.unit.removeprefix("mod ")), value.value
        line = _line(value)
        if line is None or (line[0] and modulus):
            continue
        slope, start = line
        yield _Classes(name, modulus or abs(slope), frozenset((start,)))


def _line(node: Node) -> tuple[int, int] | None:
    """(slope, start) of an integer, or of a linear scalar of one letter that runs through the integers."""
    if not isinstance(node, SCALARS):
        return None
    line = line_of(node)
    if line is None:
        value, slope = rational(node), Fraction(0)
    else:
        letter, slope, rest = line
        value = rational(rest) if letter in _PARAMETERS else None
    if value is None or value.denominator != 1 or slope.denominator != 1:
        return None
    return int(slope), int(value)


def _is_parameter(node: Node) -> bool:
    r"""Whether an item says that a letter runs through the integers: `k \in \mathbb{Z}`."""
    match node:
        case Relation((Symbol(letter), domain), ("in",)):
            return letter in _PARAMETERS and domain == _INTEGERS
        case _:
            return False
