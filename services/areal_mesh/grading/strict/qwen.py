"""Qwen's protocol with its known mistakes, for comparison with published scores.

The steps and their order are those of the protocol's published evaluation: strip the string, compare text, compare
floats (also times and over a hundred), compare without brackets, compare element by element, compare symbolically.
The symbolic step uses the parser of this package, so that nothing is evaluated here either.
"""

from __future__ import annotations

import math
import re
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.equality import numeric
from areal_mesh.grading.equality.comparison import Decide
from areal_mesh.grading.equality.scalars import compare_scalars
from areal_mesh.grading.reading.parser import parse
from areal_mesh.grading.strict.qwen_text import extract, strip_answer
from areal_mesh.grading.trees.nodes import SCALARS, Node, Relation, Sum, Unparsed, negated, symbols
from areal_mesh.grading.verdict import GradeRequest, Verdict

__all__ = ["extract", "grade", "grade_extracted", "strip_answer", "warm_up"]

_TOLERANCE: Final = 1e-4
_CHOICES: Final = "ABCDE"
_CHOICE: Final = re.compile(r"\b([A-E])\b")
_MATRIX: Final = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}\Z", re.DOTALL)
_BRACKETED: Final = re.compile(r"[(\[].+[)\]]", re.DOTALL)
_MIXED: Final = re.compile(r"(?<=\d)(?=\\frac)")
_DEPTH: Final = 4


def grade(request: GradeRequest, decide: Decide | None) -> Verdict | None:
    """Grade one response under the strict protocol; None where only algebra can decide and `decide` is None."""
    extracted = extract(request.response, request.last_number)
    if not extracted:
        return Verdict("incorrect", extracted, extracted, "no answer" if extracted is None else "empty answer")
    return grade_extracted(extracted, request.golds, decide)


def grade_extracted(extracted: str, golds: tuple[str, ...], decide: Decide | None) -> Verdict | None:
    """As `grade`, for an answer already extracted."""
    if len(extracted) > limits.ANSWER_CHARS:
        return Verdict("incorrect", extracted, None, "too long")
    answer = strip_answer(extracted)
    if answer in ("", "None", "none"):
        return Verdict("incorrect", extracted, answer, "empty answer")
    undecided = False
    for gold in golds:
        matched = _matches(answer, strip_answer(gold[: limits.ANSWER_CHARS]), decide)
        if matched is not None and matched[0]:
            return Verdict("correct", extracted, answer, f"strict {matched[1]}")
        undecided = undecided or matched is None
    return None if undecided else Verdict("incorrect", extracted, answer, "strict")


def warm_up() -> None:
    """Build what the first answer would otherwise wait for."""
    strip_answer("1 meter")


def _matches(answer: str, gold: str, decide: Decide | None, depth: int = 0) -> tuple[bool, str] | None:
    """(equal, rule), or None where only algebra can decide."""
    if answer.strip().lower() == gold.strip().lower():
        return True, "text"
    if gold in _CHOICES and len(gold) == 1 and _last_choice(answer) == gold:
        return True, "choice"
    first, second = _as_float(answer), _as_float(gold)
    if first is not None and second is not None:
        return any(
            math.isclose(item, first, rel_tol=_TOLERANCE) for item in (second / 100, second, second * 100)
        ), "float"
    if not answer or depth > _DEPTH:
        return False, "depth"
    if _without_brackets(answer, gold):
        return True, "brackets"
    parts = _elementwise(answer, gold, decide, depth)
    if parts:
        return True, "elements"
    whole = _equations(answer, gold, decide, depth)
    return None if parts is None and (whole is None or not whole[0]) else whole


def _last_choice(answer: str) -> str:
    found = _CHOICE.findall(answer.strip("\n").rstrip("./").strip(" ").lstrip(":").upper())
    return found[-1] if found else ""


def _as_float(text: str) -> float | None:
    """As the protocol reads digits: commas go, and `float` takes what it takes, `1_000` included."""
    text = text.replace(",", "")
    try:
        return float(text)
    except ValueError:
        pass  # a percentage, or no number
    if not text.endswith("%"):
        return None
    try:
        return float(text[:-1].rstrip("\\")) / 100
    except ValueError:
        return None


def _without_brackets(answer: str, gold: str) -> bool:
    square = answer.startswith("[") and answer.endswith("]") and not gold.startswith("(")
    round_ = answer.startswith("(") and answer.endswith(")") and not gold.startswith("[")
    if square or round_:
        answer, gold = answer.strip("[]()"), gold.strip("[]()")
    bare = [re.sub(r"[{}()]", "", text).lower() for text in (answer, gold)]
    return bare[0] == bare[1]


def _elementwise(answer: str, gold: str, decide: Decide | None, depth: int) -> bool | None:
    if _BRACKETED.match(answer) and _BRACKETED.match(gold):
        return _all_match(answer[1:-1].split(","), gold[1:-1].split(","), decide, depth)
    first, second = _MATRIX.match(answer), _MATRIX.match(gold)
    if first is None or second is None:
        return False
    rows = [[line.strip() for line in match.group(1).split(r"\\") if line.strip()] for match in (first, second)]
    if len(rows[0]) != len(rows[1]):
        return False
    return _all(
        [_all_match(left.split("&"), right.split("&"), decide, depth) for left, right in zip(*rows, strict=True)]
    )


def _all(outcomes: list[bool | None]) -> bool | None:
    return False if False in outcomes else None if None in outcomes else True


def _all_match(answers: list[str], golds: list[str], decide: Decide | None, depth: int) -> bool | None:
    if len(answers) != len(golds) or len(golds) > limits.LIST_ITEMS:
        return False
    outcomes = [_matches(answer, gold, decide, depth + 1) for answer, gold in zip(answers, golds, strict=True)]
    return _all([None if outcome is None else outcome[0] for outcome in outcomes])


def _equations(answer: str, gold: str, decide: Decide | None, depth: int) -> tuple[bool, str] | None:
    answer_sides, gold_sides = answer.split("="), gold.split("=")
    if len(answer_sides) == 2 and len(gold_sides) == 1 and len(answer_sides[0].strip()) <= 2:
        return _matches(answer_sides[1].strip(), gold, decide, depth + 1)
    if len(gold_sides) == 2 and len(answer_sides) == 1 and len(gold_sides[0].strip()) <= 2:
        return _matches(answer, gold_sides[1].strip(), decide, depth + 1)
    return _symbolic(answer, gold, decide)


def _symbolic(answer: str, gold: str, decide: Decide | None) -> tuple[bool, str] | None:
    try:
        # The protocol reads `2\frac{1}{2}` as a product, so that it rejects mixed numbers.
        left, right = (parse(_MIXED.sub("*", text)) for text in (answer, gold))
    except Unparsed:
        return False, "unparsed"
    first, second = _difference(left), _difference(right)
    if first is None or second is None:
        return False, "shape"
    equations = isinstance(left, Relation) and isinstance(right, Relation)
    for candidate in (second, negated(second)) if equations else (second,):
        if _close(first, candidate):
            return True, "value"
        outcome = compare_scalars(first, candidate)
        if outcome.equal is None:
            if decide is None:
                return None
            outcome = decide(first, candidate)
        if outcome.equal:
            return True, "symbolic"
    return False, "symbolic"


def _difference(node: Node) -> Node | None:
    if isinstance(node, Relation) and node.operators == ("=",):
        left, right = node.sides
        if isinstance(left, SCALARS) and isinstance(right, SCALARS):
            return Sum((left, negated(right)))
        return None
    return node if isinstance(node, SCALARS) else None


def _close(first: Node, second: Node) -> bool:
    if symbols(first) or symbols(second):
        return False
    try:
        left, right = numeric.evaluate(first).number, numeric.evaluate(second).number
    except numeric.Unmeasurable:
        return False
    if left.imag or right.imag:
        return False
    return math.isclose(left.real, right.real, rel_tol=_TOLERANCE)
