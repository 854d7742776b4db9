"""The last and dearest rule: both scalars to hundreds of digits, at points where each letter has a value.

Agreement to that many digits at every point is taken for equality. How many digits that takes grows with what the
terms of sums can cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.equality import numeric, samples
from areal_mesh.grading.equality.digits import MP, Point, is_real
from areal_mesh.grading.equality.scalars import Outcome
from areal_mesh.grading.trees.nodes import Call, Constant, Node, Sum, children, symbols
from areal_mesh.grading.trees.rationals import rational
from areal_mesh.grading.trees.shapes import count_nodes

_DIGITS: Final = 300
_DIGITS_A_TERM: Final = 100
_MOST_DIGITS: Final = 1_500
_FEW_TERMS: Final = 12
"""Terms that may cancel by ninety digits each and leave digits."""
_DIGITS_OF_FACTORIALS: Final = 200
"""The gamma function takes seconds for more."""
_FACTORIALS: Final = 4
"""Of what is no whole number, in one scalar."""
_LOST: Final = 60
"""Digits that honest cancellation may cost."""
_SHARE_BITS: Final = 300
_SMALL_SHARE_BITS: Final = 50
"""How much larger than a value what stands beside it may be, and than one a number and what has a root, a logarithm or
a function taken: 2^300 times where terms are few, 2^50 where they are many. So each term costs a sum ninety digits at
most, or fifteen, and an answer has no room for terms enough to reach the last digit."""
_POINTS: Final = 2
"""Points that are evaluated to many digits: values in double precision have agreed at all of them."""
_FAILURES: Final = 1
_ORDER: Final = (0, 3, 1, 4, 2)


def decide(gold: Node, answer: Node) -> Outcome:
    """Whether two scalars are equal; what cannot be evaluated within the bounds is not."""
    if count_nodes(gold) > limits.NODES or count_nodes(answer) > limits.NODES:
        return Outcome(False, "symbolic")
    if _holds_infinity(gold) or _holds_infinity(answer):
        return Outcome(False, "symbolic")
    precision = _Precision.of(gold, answer)
    if precision is None:
        return Outcome(False, "symbolic")
    MP.dps = precision.digits
    tolerance = MP.mpf(10) ** (_LOST - MP.dps)
    names = symbols(gold) | symbols(answer)
    measured = failed = 0
    needed = _POINTS if names else 1
    for index in _ORDER[: None if names else 1]:
        try:
            point = Point(index, precision.share_bits)
            left, right = point.value(gold), point.value(answer)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever mpmath raises, there is no value here, and what has none is not equal
            failed += 1
            if failed > _FAILURES and not measured:
                break  # no point will do
            continue
        if index >= samples.POSITIVE_SAMPLES and (
            not (is_real(left) and is_real(right))
            or numeric.has_branch(gold, index)
            or numeric.has_branch(answer, index)
        ):
            continue
        if abs(left - right) > max(abs(left), abs(right)) * tolerance:
            if names and numeric.has_branch(gold, index) and numeric.has_branch(answer, index):
                continue
            return Outcome(False, "symbolic")
        measured += 1
        if measured == needed:
            break
    return Outcome(measured == needed, "symbolic")


def _holds_infinity(node: Node) -> bool:
    return node == Constant("infinity") or any(map(_holds_infinity, children(node)))


@dataclass(frozen=True, slots=True)
class _Precision:
    """Digits to work with, and the share that a value may have of what stands beside it."""

    digits: int
    share_bits: int

    @classmethod
    def of(cls, gold: Node, answer: Node) -> _Precision | None:
        """What two scalars need; None where that is more than there is."""
        terms = max(_count_terms(gold), _count_terms(answer))
        factorials = max(_count_factorials(gold), _count_factorials(answer))
        if factorials > _FACTORIALS or (factorials and terms > _FEW_TERMS):
            return None
        if factorials:
            return cls(_DIGITS_OF_FACTORIALS, _SMALL_SHARE_BITS)
        if terms > _FEW_TERMS:
            return cls(_MOST_DIGITS, _SMALL_SHARE_BITS)
        return cls(_DIGITS + _DIGITS_A_TERM * terms, _SHARE_BITS)


def _count_factorials(node: Node) -> int:
    """Factorials and binomial coefficients of what is no whole number."""
    own = isinstance(node, Call) and node.function in ("factorial", "binomial") and rational(node) is None
    return own + sum(map(_count_factorials, children(node)))


def _count_terms(node: Node) -> int:
    """Terms of sums that are no rationals: what may cancel."""
    own = sum(rational(term) is None for term in node.terms) if isinstance(node, Sum) else 0
    return own + sum(map(_count_terms, children(node)))
