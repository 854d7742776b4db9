"""Ratios and times of day, which are written alike."""

from __future__ import annotations

import math
from fractions import Fraction

from areal_mesh.grading.equality.numeric import Unmeasurable, evaluate
from areal_mesh.grading.equality.scalars import Compare, Outcome, Sequences
from areal_mesh.grading.trees.nodes import SCALARS, Node, Number, Product, Quotient, Ratio, Sum
from areal_mesh.grading.trees.rationals import rational


def compare_ratios(gold: Node, answer: Node, sequences: Sequences, scalars: Compare) -> Outcome:
    """Whether two answers of which at least one is a ratio say the same."""
    if isinstance(gold, Ratio) and isinstance(answer, Ratio):
        if len(gold.items) != len(answer.items):
            return Outcome(False, "ratio")
        if gold.clock and (answer.clock or _is_time(gold)):
            return _times(gold, answer, sequences)
        if not all(map(_is_measurable, (*gold.items, *answer.items))):
            return sequences(gold.items, answer.items, "ratio")
        pairs = [
            (Product((gold.items[index], answer.items[0])), Product((gold.items[0], answer.items[index])))
            for index in range(1, len(gold.items))
        ]
        return sequences([left for left, _ in pairs], [right for _, right in pairs], "ratio")
    ratio, other = (gold, answer) if isinstance(gold, Ratio) else (answer, gold)
    assert isinstance(ratio, Ratio)
    # An answer that is written as a time is one; a reference is only where it can be nothing else.
    is_time = ratio.half or (_is_time(ratio) if ratio is gold else ratio.clock)
    if (ratio.half or ratio.clock) and isinstance(other, Number) and ratio.items[1] == Number(Fraction(0)):
        return scalars(*((ratio.items[0], other) if ratio is gold else (other, ratio.items[0])))  # `3 p.m.`, and 3
    if not isinstance(other, SCALARS) or len(ratio.items) != 2 or is_time:
        return Outcome(False, "shape")
    if not all(map(_is_measurable, ratio.items)):
        return Outcome(False, "ratio")
    return Outcome(scalars(Quotient(*ratio.items), other).equal, "ratio")


def _is_time(ratio: Ratio) -> bool:
    """Whether it can only be a time: `9:24`, which as a ratio would be `3:8`."""
    values = [rational(item) for item in ratio.items]
    return ratio.clock and math.gcd(*(value.numerator for value in values if value is not None)) != 1


def _is_measurable(item: Node) -> bool:
    """Whether an item has a value that is certainly not zero, at least where its letters have values."""
    if not isinstance(item, SCALARS):
        return False
    try:
        value = evaluate(item)
    except Unmeasurable:
        return False
    return abs(value.number) > 8 * value.error


def _times(gold: Ratio, answer: Ratio, sequences: Sequences) -> Outcome:
    """Times of day, or ratios written like them: 8:34 p.m. is 20:34, and 8:34 where nothing says which half."""
    if gold.half == answer.half:
        return sequences(gold.items, answer.items, "time or ratio")
    if gold.half and answer.half:
        return Outcome(False, "time or ratio")
    marked, other = (gold, answer) if gold.half else (answer, gold)
    hour = marked.items[0]
    shift = 12 * (marked.half == "pm") - 12 * (hour == Number(Fraction(12)))
    written = sequences(marked.items, other.items, "time or ratio")
    if written.equal or not shift:
        return written
    later = sequences((Sum((hour, Number(Fraction(shift)))), *marked.items[1:]), other.items, "time or ratio")
    return written if later.equal is False and written.equal is None else later
