"""Units of measured quantities: which of them clash, and which quantities belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from areal_mesh.verifier.nodes import Measured, Node
from areal_mesh.verifier.vocabulary import UNIT_SYNONYMS

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
