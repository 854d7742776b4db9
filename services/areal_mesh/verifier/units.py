"""Units of measured quantities: which of them clash, and which quantities belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from areal_mesh.verifier.nodes import Measured, Node, Number, Power, Product, Quotient, Symbol, symbols
from areal_mesh.verifier.vocabulary import UNIT_LETTERS, UNIT_SYNONYMS

_KNOWN_UNITS: Final = frozenset(UNIT_SYNONYMS.values())
_LOOSE_UNITS: Final = frozenset({"", "unit"})


def units_agree(gold: str, answer: str) -> bool:
    """Whether two units may stand for the same; a missing one agrees with any."""
    if gold == answer or not gold or not answer:
        return True
    if gold.startswith("mod ") and answer.startswith("mod "):
        return False
    if {gold.split()[-1], answer.split()[-1]} & _LOOSE_UNITS:
        return True
    # Only a clash of two units that are both known tells that one of them is wrong.
    return not all(part in _KNOWN_UNITS for part in (*gold.split(), *answer.split()))


def without_unit_letters(node: Node) -> Node | None:
    """The number before letters that can be its unit, as in `5m`, `5m^2` and `5m/s`; None for anything else."""
    if not isinstance(node, Product) or not _is_lettered_unit(node.factors[-1]):
        return None
    value = node.factors[:-1]
    if any(symbols(factor) for factor in value):
        return None
    return value[0] if len(value) == 1 else Product(value)


def _is_lettered_unit(node: Node) -> bool:
    match node:
        case Symbol(name):
            return name in UNIT_LETTERS
        case Quotient(top, bottom):
            return _is_lettered_unit(top) and _is_lettered_unit(bottom)
        case Power(Symbol("m"), Number(value)) | Power(Symbol("s"), Number(value)):
            return value in (2, 3)
        case _:
            return False


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
