"""Qwen's protocol with its known mistakes, for comparison with published scores.

The steps and their order are those of the protocol's published evaluation: strip the string, compare text, compare
floats (also times and over a hundred), compare without brackets, compare element by element, compare symbolically.
What its symbolic step evaluates as Python is read as LaTeX alone; SymPy decides it, in a worker.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.equality import numeric, samples
from areal_mesh.grading.equality.scalars import Compare
from areal_mesh.grading.strict.latex import read
from areal_mesh.grading.strict.qwen_text import extract, strip_answer
from areal_mesh.grading.trees.nodes import SCALARS, Node, Relation, Sum, Unparsed, negated, symbols
from areal_mesh.grading.verdict import GradeRequest, Verdict

__all__ = ["extract", "grade", "grade_extracted", "strip_answer", "warm_up"]

_TOLERANCE: Final = 1e-4
_CHOICES: Final = "ABCDE"
_CHOICE: Final = re.compile(r"\b([A-E])\b")
_MATRIX: Final = re.compile(r"\\begin\{[pb]matrix\}(.*)\\end\{[pb]matrix\}\Z", re.DOTALL)
_BRACKETED: Final = re.compile(r"[(\[].+[)\]]")
_BRACED: Final = re.compile(r"\{.*,.*\}")
_DEPTH: Final = 4


def grade(request: GradeRequest, decide: Compare | None) -> Verdict | None:
    """Grade one response under the strict protocol; None where only algebra can decide and `decide` is None."""
    extracted = extract(request.response, request.last_number)
    if not extracted:
        return Verdict("incorrect", extracted, extracted, "no answer" if extracted is None else "empty answer")
    return grade_extracted(extracted, request.golds, decide)


def grade_extracted(extracted: str, golds: tuple[str, ...], decide: Compare | None) -> Verdict | None:
    """As `grade`, for an answer already extracted."""
    if len(extracted) > limits.ANSWER_CHARS:
        return Verdict("incorrect", extracted, None, "too long")
    answer = strip_answer(extracted, opening=True)
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


def _matches(answer: str, gold: str, decide: Compare | None, depth: int = 0) -> tuple[bool, str] | None:
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
    answer, gold = answer.strip(), gold.strip()
    if "pmatrix" in answer and "pmatrix" not in gold:
        gold = _columns(gold)
    if _without_brackets(answer, gold):
        return True, "brackets"
    undecided = False
    for equal, rule in _steps(answer, gold, decide, depth):
        if equal:
            return True, rule
        undecided = undecided or equal is None
    return None if undecided else (False, "symbolic")


def _steps(answer: str, gold: str, decide: Compare | None, depth: int) -> Iterator[tuple[bool | None, str]]:
    """What each further step of the protocol finds; the first that finds them equal decides."""
    yield _elementwise(answer, gold, decide, depth), "elements"
    sides = answer.split("="), gold.split("=")
    if len(sides[0]) == len(sides[1]) == 2:
        first, second = (f"{left.strip()} - ({right.strip()})" for left, right in sides)
        yield _symbolic(first, second, decide), "symbolic"
        yield _symbolic(f"-({first})", second, decide), "symbolic"
    elif len(sides[0]) == 2 and len(sides[1]) == 1 and len(sides[0][0].strip()) <= 2:
        yield _equal(_matches(sides[0][1], gold, decide, depth + 1)), "value"
    elif len(sides[1]) == 2 and len(sides[0]) == 1 and len(sides[1][0].strip()) <= 2:
        yield _equal(_matches(answer, sides[1][1], decide, depth + 1)), "value"
    yield _symbolic(answer, gold, decide), "symbolic"


def _equal(outcome: tuple[bool, str] | None) -> bool | None:
    return None if outcome is None else outcome[0]


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
        return float(text[:-1].removesuffix("\\")) / 100
    except ValueError:
        return None


def _columns(text: str) -> str:
    """What is in braces with commas, as columns."""
    found = (match.strip("{}").replace(",", "\\") for match in _BRACED.findall(text.strip()))
    return ", ".join(rf"\begin{{pmatrix}}{inner}\end{{pmatrix}}" for inner in found)


def _without_brackets(answer: str, gold: str) -> bool:
    square = answer.startswith("[") and answer.endswith("]") and not gold.startswith("(")
    round_ = answer.startswith("(") and answer.endswith(")") and not gold.startswith("[")
    if square or round_:
        answer, gold = answer.strip("[]()"), gold.strip("[]()")
    bare = [re.sub(r"[{}()]", "", text).lower() for text in (answer, gold)]
    return bare[0] == bare[1]


def _elementwise(answer: str, gold: str, decide: Compare | None, depth: int) -> bool | None:
    if _BRACKETED.match(answer) and _BRACKETED.match(gold):
        found = _all_match(answer[1:-1].split(","), gold[1:-1].split(","), decide, depth)
        if found is not False:
            return found
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


def _all_match(answers: list[str], golds: list[str], decide: Compare | None, depth: int) -> bool | None:
    if len(answers) != len(golds) or len(golds) > limits.LIST_ITEMS:
        return False
    pairs = zip(answers, golds, strict=True)
    return _all([_equal(_matches(answer, gold, decide, depth + 1)) for answer, gold in pairs])


def _symbolic(answer: str, gold: str, decide: Compare | None) -> bool | None:
    try:
        left, right = (_read(text) for text in (answer, gold))
    except Unparsed:
        return _same_collections(answer, gold)
    if left == right:
        return True
    if isinstance(left, Relation) and isinstance(right, Relation):
        # Whatever the signs between the sides: the protocol compares how far these are apart.
        first, second = (_difference(side) for side in (left, right))
        truths = [_truth(side) for side in (first, second)]
        if None not in truths and left.operators == right.operators == ("=",):
            return truths[0] == truths[1]
        return _any([_same(first, second, decide), _same(first, negated(second), decide)])
    if isinstance(left, Relation) or isinstance(right, Relation):
        return False
    return _same(left, right, decide)


def _any(outcomes: list[bool | None]) -> bool | None:
    return True if True in outcomes else None if None in outcomes else False


def _read(text: str) -> Node:
    """As the protocol, which takes a pair of backslashes for one first."""
    try:
        return read(text.replace("\\\\", "\\"))
    except Unparsed:
        return read(text)


def _difference(node: Relation) -> Node:
    left, right = node.sides
    return Sum((left, negated(right)))


def _truth(difference: Node) -> bool | None:
    """Whether the sides of an equation of numbers are the same; None for one with letters."""
    if symbols(difference):
        return None
    try:
        value = numeric.evaluate(difference)
    except numeric.Unmeasurable:
        return None
    return abs(value.number) <= 8 * value.error


def _same(left: Node, right: Node, decide: Compare | None) -> bool | None:
    """Whether SymPy finds two expressions equal, asked only where their values do not tell."""
    if not (isinstance(left, SCALARS) and isinstance(right, SCALARS)):
        return False
    letters = symbols(left) | symbols(right)
    for index in range(samples.SAMPLES if letters else 1):
        try:
            first, second = numeric.evaluate(left, index), numeric.evaluate(right, index)
        except numeric.Unmeasurable:
            continue
        if letters:
            if abs(first.number - second.number) > 16 * (first.error + second.error) + 1e-290:
                return False
        elif all(_is_plain(value) for value in (first, second)):
            return math.isclose(first.number.real, second.number.real, rel_tol=_TOLERANCE)
    return None if decide is None else decide(left, right).equal


def _is_plain(value: numeric.Value) -> bool:
    """Whether a number is real, and known well enough to be compared within the protocol's tolerance."""
    return not value.number.imag and abs(value.number) > 1e6 * value.error


def _same_collections(answer: str, gold: str) -> bool:
    """Lists in braces, as Python's sets where they hold numbers alone, and in their order otherwise."""
    lists = []
    for text in (answer, gold):
        if not (text.startswith("{") and text.endswith("}")) or text.count(",") > limits.LIST_ITEMS:
            return False
        try:
            lists.append([_read(item) for item in text[1:-1].split(",")])
        except Unparsed:
            return False
    if "\\" in answer + gold:
        return lists[0] == lists[1]
    return set(lists[0]) == set(lists[1])
