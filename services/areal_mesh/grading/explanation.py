"""Why an answer was judged as it was, in lines for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Final

from areal_mesh.grading.answers import Answer
from areal_mesh.grading.extraction import find_answer
from areal_mesh.grading.grade import gold_answer
from areal_mesh.grading.strict import qwen as strict_qwen
from areal_mesh.grading.trees.nodes import Bracketed, Constant, Node, Number, Symbol, Words
from areal_mesh.grading.verdict import GradeRequest, Verdict

_SHOWN_CHARS: Final = 160

RULES: Final = {
    "text": "the same after layout, fonts and synonyms",
    "identical": "the same expression",
    "rational": "exact arithmetic on rational numbers",
    "decimal": "a decimal, compared within a relative 1e-4 and to the places it is written to",
    "rounded": "rounded to the places of a reference that says that it is rounded",
    "numeric": "the values differ in double precision, beyond rounding",
    "symbolic": "SymPy: the same values to hundreds of digits at two points",
    "percent": "a percent sign",
    "degree": "a degree sign",
    "unit": "units",
    "list": "item by item, in any order",
    "set": "member by member",
    "tuple": "component by component",
    "vector": "component by component",
    "matrix": "entry by entry",
    "joined boxes": "adjacent boxes read as one listing",
    "interval": "end by end; open is not closed",
    "interval or point": "end by end, or coordinate by coordinate",
    "equation": "equations, up to a constant factor",
    "inequality": "inequalities, up to a positive factor",
    "relation": "what is said of a name",
    "name": "something is said of another name",
    "pieces": "functions in pieces, at the bounds of their pieces and between",
    "congruence": "classes of residues: the same modulus, the same remainders",
    "forged equality": "the answer equates numbers that differ",
    "ratio": "ratios",
    "time or ratio": "times of day, or ratios written like them",
    "base": "digits in a base",
    "words": "words, in lower case",
    "symbol": "names of variables or choices",
    "choice": "the letter of a choice",
    "infinity": "infinities",
    "shape": "things of different kinds, such as a number and a point",
    "unparsed": "one side is no mathematics that is read, and the texts differ",
    "too long": "the answer exceeds the bound on length",
    "no answer": "the response states no answer",
    "empty answer": "the answer is empty",
    "deadline": "the answer took longer than its deadline",
    "strict": "no step of Qwen's protocol finds them equal",
}
"""What each rule compares."""


def explain(request: GradeRequest, grade: Callable[[GradeRequest], Verdict]) -> list[str]:
    """The steps from response to verdict; `grade` gives a request's verdict.

    Raises:
        ValueError: if the protocol is unknown.
    """
    verdict = grade(request)
    steps = [f"response: {len(request.response):,} characters, ends {_shown(request.response[-60:])}"]
    steps += _extraction(request, verdict)
    if verdict.extracted:
        steps += _readings("answer", Answer(verdict.extracted), request)
        for gold in request.golds:
            steps.append(f"reference: {_shown(gold)}")
            steps += _readings(
                "reference", Answer(gold) if request.protocol == "strict_qwen" else gold_answer(gold), request
            )
            one = grade(replace(request, golds=(gold,)))
            steps.append(f"  {_equality(one)}, by the rule `{one.rule}`: {_meaning(one.rule)}")
    steps.append(f"verdict: {verdict.status}, by the rule `{verdict.rule}`")
    return steps


def _extraction(request: GradeRequest, verdict: Verdict) -> list[str]:
    if verdict.extracted is None:
        return [f"extracted: nothing; {_meaning(verdict.rule)}"]
    where, joined = "", None
    if request.protocol == "qwen":
        found = find_answer(request.response, last_number=request.last_number)
        where = f" from {found.place}" if found else ""
        joined = found.joined if found else None
    steps = [f"extracted{where}: {_shown(verdict.extracted)}", f"normalised: {_shown(verdict.normalised or '')}"]
    return [*steps, f"adjacent boxes, if the reference is a listing: {_shown(joined)}"] if joined else steps


def _readings(name: str, answer: Answer, request: GradeRequest) -> list[str]:
    if request.protocol == "strict_qwen":
        return [f"  {name} stripped by the protocol: {_shown(strict_qwen.strip_answer(answer.text))}"]
    readings = answer.readings()
    if not readings:
        return [f"  {name} not read as mathematics: {answer.problem or 'empty'}"]
    return [f"  {name} read as {_described(reading)}" for reading in readings]


def _described(node: Node) -> str:
    if isinstance(node, Number):
        return f"the number {node.value}" + (f", written to {node.decimals} places" if node.decimals else "")
    return _shown(_tree(node))


def _tree(part: object) -> str:
    """A tree as `Sum(1, Power(2, 1/2))`: kinds and parts, without the names of fields."""
    if isinstance(part, Number):
        return str(part.value) if part.decimals is None else f"{part.value} to {part.decimals} places"
    if isinstance(part, Symbol | Constant | Words):
        return part.text if isinstance(part, Words) else part.name
    if isinstance(part, Bracketed):
        return f"{part.left}{_tree(part.items)}{part.right}"
    if isinstance(part, tuple):
        return ", ".join(map(_tree, part))
    if is_dataclass(part):
        values = [getattr(part, field.name) for field in fields(part)]
        return f"{type(part).__name__}({', '.join(_tree(value) for value in values if value not in ('', False))})"
    return str(part)


def _equality(verdict: Verdict) -> str:
    return {"correct": "equal", "incorrect": "not equal", "error": "not decided"}[verdict.status]


def _meaning(rule: str) -> str:
    if rule in RULES:
        return RULES[rule]
    return "a step of Qwen's protocol" if rule.startswith("strict ") else "the grader failed"


def printable(text: str) -> str:
    """The text with escapes for what a terminal would obey or could not show."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _shown(text: str) -> str:
    """One printable line, cut in the middle where it is long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]} ... ({len(text):,} characters)"
