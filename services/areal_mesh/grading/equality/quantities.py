"""Whether two quantities are the same: numbers with units, percent and degree signs, letters that may be units."""

from __future__ import annotations

from areal_mesh.grading.equality import numeric
from areal_mesh.grading.equality.chains import congruent
from areal_mesh.grading.equality.scalars import Compare, Outcome
from areal_mesh.grading.equality.units import (
    are_convertible,
    bare,
    in_base_units,
    is_no_residue,
    lettered_quantity,
    units_agree,
    with_unit,
)
from areal_mesh.grading.trees.nodes import SCALARS, Call, Constant, Measured, Node, Symbol, children, symbols
from areal_mesh.grading.vocabulary import MARK


def compare_measured(gold: Node, answer: Node, compare: Compare, scalars: Compare) -> Outcome:
    """Quantities of which at least one has a unit."""
    gold, answer = with_unit(gold), with_unit(answer)
    gold_unit, answer_unit = _unit_of(gold), _unit_of(answer)
    gold_unit = gold_unit.removesuffix(f" {MARK}")
    if answer_unit.endswith(f" {MARK}"):
        # A prime after a number is a unit where the reference has such a unit; else it may be a derivative's.
        answer_unit = answer_unit.removesuffix(f" {MARK}")
        if not gold_unit:
            return Outcome(False, "unit")
    if {gold_unit, answer_unit} == {"degree", "rad"}:
        values = bare(gold), bare(answer)
        return Outcome(scalars(*values).equal if all(isinstance(v, SCALARS) for v in values) else False, "unit")
    if gold_unit == answer_unit and gold_unit.startswith("mod "):
        return Outcome(congruent(bare(gold), bare(answer), int(gold_unit[4:])), "unit")
    if is_no_residue(gold) or is_no_residue(answer):
        return Outcome(gold == answer, "unit")
    if are_convertible(gold_unit, answer_unit) and all(isinstance(bare(node), SCALARS) for node in (gold, answer)):
        gold, answer = in_base_units(gold), in_base_units(answer)
    elif not units_agree(gold_unit, answer_unit):
        return Outcome(False, "unit")
    if all(isinstance(bare(node), SCALARS) for node in (gold, answer)):
        outcome = compare_marked(bare(gold), bare(answer), scalars)
    else:
        outcome = compare(bare(gold), bare(answer))
    return Outcome(outcome.equal, "unit" if outcome.rule == "identical" else outcome.rule)


def _unit_of(node: Node) -> str:
    """A quantity's unit, and the sign that its number has: `5\\% increase`."""
    if not isinstance(node, Measured):
        return _mark(node)
    return f"{_mark(node.value)} {node.unit}".strip()


def compare_marked(gold: Node, answer: Node, scalars: Compare) -> Outcome:
    """Scalars, where a percent or degree sign may stand on one side alone."""
    if isinstance(gold, Symbol) and isinstance(answer, Symbol) and len(gold.name) == len(answer.name) == 1:
        same = gold.name == answer.name or (gold.name in "ABCDE" and gold.name == answer.name.upper())
        return Outcome(same, "symbol")
    bare_gold, bare_answer = _unmarked(gold), _unmarked(answer)
    if bare_gold is gold and bare_answer is answer:
        return _numbers_with_letters(gold, answer, scalars) or scalars(gold, answer)
    marked = "percent" if "percent" in (_mark(gold), _mark(answer)) else "degree"
    if _mark(gold) and _mark(answer) and _mark(gold) != _mark(answer):
        return Outcome(False, marked)
    outcome = Outcome(False, marked)
    if not (bare_gold is gold and (_is_no_percentage(gold) if marked == "percent" else _is_in_radians(gold))):
        outcome = scalars(bare_gold, bare_answer)
    if outcome.equal is not False or (_mark(gold) and _mark(answer)):
        return Outcome(outcome.equal, marked)
    return Outcome(scalars(gold, answer).equal, marked)


def _numbers_with_letters(gold: Node, answer: Node, scalars: Compare) -> Outcome | None:
    """A bare number against `5m`; None for anything else."""
    if bool(symbols(gold)) == bool(symbols(answer)):
        return None
    lettered = lettered_quantity(answer if symbols(answer) else gold)
    if lettered is None:
        return None
    return Outcome(scalars(*((gold, lettered[0]) if symbols(answer) else (lettered[0], answer))).equal, "unit")


def _mark(node: Node) -> str:
    return node.function if isinstance(node, Call) and node.function in ("percent", "degree") else ""


def _is_no_percentage(node: Node) -> bool:
    """Whether a percent sign beside it changes it, rather than repeats the question's: a letter, a number below one."""
    if symbols(node):
        return True
    try:
        return abs(numeric.evaluate(node).number) < 1
    except numeric.Unmeasurable:
        return True


def _is_in_radians(node: Node) -> bool:
    return node == Constant("pi") or any(map(_is_in_radians, children(node)))


def _unmarked(node: Node) -> Node:
    return node.arguments[0] if isinstance(node, Call) and _mark(node) else node
