"""Units of measured quantities: which of them clash, and which quantities belong together."""

from __future__ import annotations

from collections.abc import Sequence
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
from areal_mesh.grading.unit_table import Measure, measure, unit_word
from areal_mesh.grading.vocabulary import MARK, UNIT_LETTERS

_TIMES: Final = frozenset({"s", "min", "h", "day", "week", "month", "year"})
_SIGNS: Final = {"percent": frozenset({"percent"}), "degree": frozenset({"degree", "celsius", "fahrenheit"})}
_OF_MONEY: Final = frozenset({"cent", "penny", "euro", "yen", "yuan", "won", "paisa", "kopeck", "peso"})
_LENGTHS: Final = frozenset({"square", "cubic", "unit", "m"})
_TELLING: Final = frozenset({"bc", "bce"})
"""Words without which a quantity is another one: the year 44 is not 44 BC."""
_LETTERS: Final = {"C": "celsius", "F": "fahrenheit"}
"""Of temperatures, where the degree sign is missing."""


def units_agree(gold: str, answer: str) -> bool:
    """Whether two units may stand for the same; a missing one agrees with any that is no part of the value."""
    if gold == answer:
        return True
    golds, answers = frozenset(gold.split()), frozenset(answer.split())
    if (golds ^ answers) & _TELLING:
        return False
    if not gold or not answer:
        return True
    first, second = measure(gold), measure(answer)
    for sign, words in ((gold, answers), (answer, golds)):
        if sign in _SIGNS:
            known = {word for word in words if not measure(word).unknown}
            return bool(known) and known <= _SIGNS[sign] and (sign == gold or "per" not in words)
    if gold.startswith("mod ") and answer.startswith("mod "):
        return False
    if {gold, answer} == {"pound", "sterling"}:
        return True
    if _LETTERS.get(gold) == answer or _LETTERS.get(answer) == gold:
        return True
    longer, shorter = (gold, answer) if len(gold) > len(answer) else (answer, gold)
    of_money = {base for base, _ in measure(shorter).powers} <= _OF_MONEY
    if of_money and longer.startswith(f"{shorter} per ") and longer.split()[-1] not in _TIMES:
        return True  # cents per ounce
    if "unit" in (gold.split()[-1], answer.split()[-1]):
        return _some_length(first, second)
    # Words that differ are two things; one that stands on one side alone says no more than the question.
    if first.unknown - second.unknown and second.unknown - first.unknown:
        return False
    if bool(first.powers) != bool(second.powers):
        return not (first.unknown or second.unknown) or bool(first.unknown & second.unknown)
    return (first.worth, first.powers) == (second.worth, second.powers)


def _some_length(gold: Measure, answer: Measure) -> bool:
    """Whether a "unit", "square unit" or "cubic unit" may be the other: any length, to the same power."""
    powers = [sum(times for base, times in side.powers) for side in (gold, answer)]
    return powers[0] == powers[1] and all(base in _LENGTHS for base, _ in (*gold.powers, *answer.powers))


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
            return unit_word(name) if name in UNIT_LETTERS else None
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
    first, second = measure(gold), measure(answer)
    if first.unknown != second.unknown or not first.powers or first.powers != second.powers:
        return False
    return first.worth != second.worth


def in_base_units(node: Node) -> Node:
    """The number of a quantity in the base units of its kind: of dollars in cents."""
    if isinstance(node, Measured) and isinstance(node.value, SCALARS):
        return Product((node.value, Number(measure(node.unit.removesuffix(f" {MARK}")).worth)))
    return bare(node)


def bare(node: Node) -> Node:
    """A quantity without its unit."""
    return node.value if isinstance(node, Measured) else node


def with_unit(node: Node) -> Node:
    """`5m` with its letter as a unit; other nodes as they are."""
    lettered = lettered_quantity(node)
    return node if lettered is None else Measured(*lettered)
