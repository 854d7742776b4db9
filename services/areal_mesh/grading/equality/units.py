"""Units of measured quantities: which of them clash, and which quantities belong together."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from areal_mesh.grading.equality.chains import modulus_of
from areal_mesh.grading.trees.nodes import (
    SCALARS,
    Measured,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Symbol,
    symbols,
)
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.vocabulary import KNOWN_UNITS, MARK, UNIT_LETTERS

_TIMES: Final = frozenset({"s", "min", "h", "day", "week", "month", "year"})
_SMALLEST: Final = {
    "dollar": ("cent", 100), "cent": ("cent", 1),
    "week": ("s", 604_800), "day": ("s", 86_400), "h": ("s", 3_600), "min": ("s", 60), "s": ("s", 1),
    "km": ("mm", 10**6), "m": ("mm", 1_000), "cm": ("mm", 10), "mm": ("mm", 1),
    "mi": ("in", 63_360), "yd": ("in", 36), "ft": ("in", 12), "in": ("in", 1),
    "kg": ("mg", 10**6), "g": ("mg", 1_000), "mg": ("mg", 1), "lb": ("oz", 16), "oz": ("oz", 1),
    "l": ("ml", 1_000), "ml": ("ml", 1),
}  # fmt: skip
"""The smallest unit of the same kind, and how many of it each is."""
_SIGNS: Final = frozenset({"percent", "degree"})
_POWER_WORDS: Final = frozenset({"square", "cubic"})
_LENGTHS: Final = frozenset({"unit", "m", "cm", "mm", "km", "in", "ft", "yd", "mi"})


def units_agree(gold: str, answer: str) -> bool:
    """Whether two units may stand for the same; a missing one agrees with any."""
    if gold == answer or not gold or not answer:
        return True
    if gold in _SIGNS:
        return gold in answer.split() and not (set(answer.split()) - {gold}) & KNOWN_UNITS
    if answer in _SIGNS:
        return answer in gold.split() and "per" not in gold.split()
    if gold.startswith("mod ") and answer.startswith("mod "):
        return False
    longer, shorter = (gold, answer) if len(gold) > len(answer) else (answer, gold)
    if longer.startswith(f"{shorter} per ") and longer.split()[-1] not in _TIMES:
        return True  # cents per ounce
    golds, answers = frozenset(gold.split()), frozenset(answer.split())
    if "unit" in (gold.split()[-1], answer.split()[-1]):
        return _some_length(golds, answers)
    # Only a clash of units that are known tells that one of them is wrong.
    if not (golds & KNOWN_UNITS and answers & KNOWN_UNITS):
        return True
    return _known_parts(gold) == _known_parts(answer)


def _known_parts(unit: str) -> tuple[list[str], list[str]]:
    """Known words of a unit before its first "per" and after it."""
    over, _, under = unit.partition(" per ")
    return tuple(sorted(word for word in side.split() if word in KNOWN_UNITS) for side in (over, under))  # type: ignore[return-value]


def _some_length(golds: frozenset[str], answers: frozenset[str]) -> bool:
    """Whether a "unit", "square unit" or "cubic unit" may be the other: any length, with the same power."""
    return all(side - _POWER_WORDS <= _LENGTHS for side in (golds, answers)) and (
        golds & _POWER_WORDS == answers & _POWER_WORDS
    )


def lettered_quantity(node: Node) -> tuple[Node, str] | None:
    """(number, unit) of a number before letters that can be its unit, as `5m`, `5m^2` and `5m/s`; None for others."""
    if not isinstance(node, Product):
        return None
    unit = _lettered_unit(node.factors[-1])
    value = node.factors[:-1]
    if unit is None or any(symbols(factor) for factor in value):
        return None
    return value[0] if len(value) == 1 else Product(value), unit


def _lettered_unit(node: Node) -> str | None:
    match node:
        case Symbol(name):
            return name.lower() if name in UNIT_LETTERS else None
        case Quotient(top, bottom):
            over, under = _lettered_unit(top), _lettered_unit(bottom)
            return None if over is None or under is None else f"{over} per {under}"
        case Power(Symbol("m"), Number(value)) if value in (2, 3):
            return "square m" if value == 2 else "cubic m"
        case Power(Symbol("s"), Number(value)) if value == 2:
            return "square s"
        case _:
            return None


def distinct_units(items: Sequence[Node]) -> tuple[str, ...]:
    """The units of measured quantities of which no two have the same; empty for anything else."""
    units = tuple(item.unit for item in items if isinstance(item, Measured))
    return units if len(set(units)) == len(items) > 1 else ()


def by_unit(golds: tuple[Node, ...], answers: tuple[Node, ...]) -> tuple[Node, ...]:
    """The answers in the order of the golds' units, where both have the same distinct ones: 10 red and 5 blue are
    5 blue and 10 red, and not 5 red and 10 blue."""
    units, others = distinct_units(golds), distinct_units(answers)
    if not units or sorted(units) != sorted(others):
        return answers
    places = dict(zip(others, answers, strict=True))
    return tuple(places[unit] for unit in units)


def is_no_residue(node: Node) -> bool:
    """Whether a modulus stands after what is not reduced by it: `42 (mod 5)` is not 42."""
    modulus = modulus_of(node)
    if modulus is None or not isinstance(node, Measured):
        return False
    value = rational(node.value)
    return value is None or value.denominator != 1 or not 0 <= value < modulus


def are_convertible(gold: str, answer: str) -> bool:
    """Whether two units are different ones of one kind, as dollars and cents are."""
    return gold != answer and gold in _SMALLEST and answer in _SMALLEST and _SMALLEST[gold][0] == _SMALLEST[answer][0]


def in_smallest_unit(node: Node) -> Node:
    """The number of a quantity in the smallest unit of its kind: of dollars in cents."""
    unit = node.unit.removesuffix(f" {MARK}") if isinstance(node, Measured) else ""
    if isinstance(node, Measured) and unit in _SMALLEST and isinstance(node.value, SCALARS):
        return Product((node.value, Number(Fraction(_SMALLEST[unit][1]))))
    return bare(node)


def bare(node: Node) -> Node:
    """A quantity without its unit."""
    return node.value if isinstance(node, Measured) else node


def with_unit(node: Node) -> Node:
    """`5m` with its letter as a unit; other nodes as they are."""
    lettered = lettered_quantity(node)
    return node if lettered is None else Measured(*lettered)
