"""Grading one response: extraction, then equality with each gold by rising cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.answers import Answer, plain_number
from areal_mesh.grading.choices import choice_letter, is_choice
from areal_mesh.grading.equality.comparison import Decide, Equality
from areal_mesh.grading.equality.scalars import Outcome, compare_scalars, rounds_to
from areal_mesh.grading.extraction import extract_answer, find_answer, joined_boxes, unclosed_box
from areal_mesh.grading.reading.spelling import spelled
from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.trees.nodes import Bracketed, FiniteSet, Listing, Node
from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.vocabulary import SHORT_WORDS

_DECIMAL: Final = re.compile(r"-?\d+\.\d+\Z", re.ASCII)
_APPROXIMATE: Final = re.compile(r"\\approx\s*(-?\d{1,40}\.\d{1,40})\Z", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"-?\d+,(?:\d{2}|\d{4,})\Z", re.ASCII)
_FRACTION_COMMA: Final = re.compile(r"-?0,\d{2,}\Z", re.ASCII)
_REFERENCES: Final = 1024
"""Reference answers that are kept as they were read: all responses to a prompt are graded against one."""
_KEPT_CHARS: Final = 400
"""Of a reference that is kept (the longest of MATH has about 250): a thousand of them take some 40 MB at most."""


def rounded(golds: Sequence[str]) -> tuple[str, ...]:
    """References of which those that are decimals say that they were rounded."""
    return tuple(rf"\approx {gold.strip()}" if _DECIMAL.match(gold.strip()) else gold for gold in golds)


def grade(request: GradeRequest, decide: Decide | None) -> Verdict | None:
    """Grade one response; None where only algebra can decide and `decide` is None.

    Raises:
        ValueError: if the protocol is unknown.
    """
    if request.protocol == "strict_qwen":
        from areal_mesh.grading.strict import qwen as strict_qwen

        return strict_qwen.grade(request, decide)
    if request.protocol != "qwen":
        raise ValueError(f"protocol is {request.protocol!r}: choose qwen or strict_qwen")
    stated = find_answer(request.response, last_number=request.last_number)
    if stated is None:
        return Verdict("incorrect", None, None, "no answer")
    if not stated.answer:
        return Verdict("incorrect", stated.answer, "", "empty answer")
    return grade_extracted(stated.answer, stated.joined, request.golds, decide)


def grade_extracted(extracted: str, joined: str | None, golds: Sequence[str], decide: Decide | None) -> Verdict | None:
    """Grade an answer that is already extracted; `joined` is its reading as one of several adjacent boxes."""
    answer = Answer(extracted)
    equality = Equality(decide)
    rule = "no gold"
    undecided = False
    for gold in golds:
        reference = gold_answer(gold)
        outcome = _match(reference, answer, equality)
        if outcome.equal is False and joined is not None:
            outcome = _match_joined(reference, joined, outcome, equality)
        if outcome.equal:
            return Verdict("correct", extracted, answer.normalised, outcome.rule)
        undecided = undecided or outcome.equal is None
        rule = outcome.rule
    return None if undecided else Verdict("incorrect", extracted, answer.normalised, rule)


def gold_answer(text: str) -> Answer:
    """A reference answer; of a solution's text, with a box or no answer itself, what it states as its answer.

    One that is no longer than references are is read once for all responses that are graded against it.
    """
    return _kept_gold(text) if len(text) <= _KEPT_CHARS else _read_gold(text)


@lru_cache(maxsize=_REFERENCES)
def _kept_gold(text: str) -> Answer:
    return _read_gold(text)


def _read_gold(text: str) -> Answer:
    if "####" in text:
        text = text.rpartition("####")[2].strip() or text  # GSM8K's last line
    gold = Answer(text, reference=True)
    boxed = "\\boxed" in text or "\\fbox" in text
    if gold.readings() and not boxed:
        return gold
    return Answer(
        joined_boxes(text, reference=True) or extract_answer(text) or unclosed_box(text) or text, reference=True
    )


def _match(gold: Answer, answer: Answer, equality: Equality) -> Outcome:
    if gold.text == answer.text:
        return Outcome(bool(gold.text), "text")
    numbers = plain_number(gold.text), plain_number(answer.text)
    if numbers[0] is not None and numbers[1] is not None:
        return compare_scalars(numbers[0], numbers[1])
    letters = choice_letter(gold.text), choice_letter(answer.text)
    if all(letters) and letters[0] != letters[1]:
        return Outcome(False, "choice")
    if len(answer.text) > limits.ANSWER_CHARS:
        return Outcome(False, "too long")
    if _same_with_comma(gold.text, answer.text, _DECIMAL_COMMA) or (
        _same_with_comma(answer.text, gold.text, _FRACTION_COMMA)
    ):
        return Outcome(True, "decimal")
    if gold.tokens() and answer.tokens() and gold.canonical == answer.canonical:
        return Outcome(True, "text")
    if _same_short_word(gold.text, answer.text) or _same_words(gold.tokens(), answer.tokens()):
        return Outcome(True, "words")
    outcome = _match_readings(gold, answer, equality)
    approximate = _APPROXIMATE.match(gold.text)
    if approximate and not outcome.equal:
        number = plain_number(approximate.group(1))
        if number is not None and any(rounds_to(number, reading) for reading in answer.readings()):
            return Outcome(True, "rounded")
    if outcome.equal is False and (is_choice(gold.text, answer.text) or is_choice(answer.text, gold.text)):
        return Outcome(True, "choice")
    return outcome


def _same_with_comma(decimal: str, written: str, with_comma: re.Pattern[str]) -> bool:
    """Whether the second is the first with a comma as its decimal point: `3,75`, where the other answer is 3.75.

    A reference with a comma is a listing, unless it begins with a nought.
    """
    return bool(_DECIMAL.match(decimal) and with_comma.match(written)) and written.replace(",", ".") == decimal


def _same_words(gold: list[Token], answer: list[Token]) -> bool:
    r"""Whether both spell the same words, one of them outside `\text`: `Yes` may be three variables."""
    if not any(token.kind == "word" for token in (*gold, *answer)):
        return False
    words = spelled(gold)
    return words is not None and len(words) > 1 and words == spelled(answer)


def _same_short_word(gold: str, answer: str) -> bool:
    """Whether both are one word of few letters that LaTeX would read as variables, in another case: `NO`, `no`."""
    if not (gold.isalpha() and answer.isalpha() and gold.isascii() and gold.lower() == answer.lower()):
        return False
    plain = all(text.islower() or text.istitle() for text in (gold, answer))
    return gold.lower() in SHORT_WORDS or (len(gold) > 2 and plain)


def _match_readings(gold: Answer, answer: Answer, equality: Equality) -> Outcome:
    golds, answers = gold.readings(), answer.readings()
    if not answers or not golds:
        return Outcome(False, "unparsed")
    outcome = _match_any(golds, answers, equality)
    if outcome.equal is False:
        decimal = gold.decimal_readings(), answer.decimal_readings()
        if any(decimal):
            return _match_any(decimal[0] or golds, decimal[1] or answers, equality)
    return outcome


def _match_any(golds: Sequence[Node], answers: Sequence[Node], equality: Equality) -> Outcome:
    last = Outcome(False, "unparsed")
    for gold_reading in golds:
        for answer_reading in answers:
            outcome = equality.compare(gold_reading, answer_reading)
            if outcome.equal:
                return outcome
            if outcome.equal is None or last.equal is False:
                last = outcome
    return last


def _match_joined(gold: Answer, joined: str, outcome: Outcome, equality: Equality) -> Outcome:
    """Adjacent boxes are one listing where the gold is a listing."""
    if not any(isinstance(node, Listing | FiniteSet | Bracketed) for node in gold.readings()):
        return outcome
    found = _match(gold, Answer(joined), equality)
    return Outcome(True, "joined boxes") if found.equal else found
