"""Answers that are words: how their tokens spell, and dates."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from areal_mesh.grading.reading.number_words import ORDINALS, leading_number
from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.trees.nodes import (
    Bracketed,
    Constant,
    FiniteSet,
    Measured,
    Node,
    Number,
    Ratio,
    SetOperation,
    Symbol,
    Words,
)
from areal_mesh.grading.trees.shapes import INFINITY, MINUS_INFINITY
from areal_mesh.grading.unit_table import measure, unit_word
from areal_mesh.grading.vocabulary import (
    ABBREVIATIONS,
    ALL_INTEGERS,
    ALL_NATURALS,
    ALL_REALS,
    ARTICLES,
    MONTHS,
    NO_SOLUTION,
)

_SPELLED_TOKENS: Final = 64
_SENTENCE_CHARS: Final = 300
_SUBJECT_WORDS: Final = 2
_SENTENCE: Final = re.compile(
    r"(?P<subject>[A-Z][^.;:=<>]*?)\s(?:is|are|equals|be|has|gives|saves|needs|costs|takes)\s+"
    r"(?:exactly |only |a total of )?"
    r"(?P<value>[-\d(\[\\$.][^.;?!]*(?:\.\d[^.;?!]*)?|(?:an? )?[A-Za-z]+)\.?"
)
_TEXT_MACRO: Final = re.compile(r"\\text(?:bf|rm|it)?\s*\{([^{}]*)\}")
_SENTENCE_LAYOUT: Final = re.compile(r"\\\$|[$~]|\\[ ,;:!]|\s+")
_NO_STATEMENT: Final = re.compile(
    r"n't\b|\b(?:is|are|equals|be|not|no|never|if|or|either|neither|unless|except|but|wrong|incorrect|false|without|opposite|maybe|might|can|cannot|could)\b",
    re.IGNORECASE,
)
"""Words of a subject with which the sentence does not state its value, or states another one too."""
_MONTH: Final = "|".join(MONTHS.split())
_DATE: Final = re.compile(
    rf"(?:on )?(?:the )?(?:(?P<month>{_MONTH}) (?P<day>\d{{1,2}})(?: ?(?:st|nd|rd|th))?"
    rf"|(?P<later_day>\d{{1,2}})(?: ?(?:st|nd|rd|th))?(?: of)? ?(?P<later_month>{_MONTH}))(?: (?P<year>\d{{4}}))?"
)


_SIGNED_REALS: Final = re.compile(
    r"(?:the )?(?:set of )?(?:all |any )?(?:the )?(positive|negative|non[- ]?(?:negative|positive|zero))"
    r" real(?:s| numbers?)"
)
_ZERO: Final = Number(Fraction(0))
_INTERVALS: Final[dict[str, Node]] = {
    "positive": Bracketed("(", (_ZERO, INFINITY), ")"),
    "nonnegative": Bracketed("[", (_ZERO, INFINITY), ")"),
    "negative": Bracketed("(", (MINUS_INFINITY, _ZERO), ")"),
    "nonpositive": Bracketed("(", (MINUS_INFINITY, _ZERO), "]"),
    "nonzero": SetOperation("minus", Symbol("reals"), FiniteSet((_ZERO,))),
}
_HOURS: Final = {
    "noon": Ratio((Number(Fraction(12)), _ZERO), True, "pm"),
    "midnight": Ratio((Number(Fraction(12)), _ZERO), True, "am"),
}
_EXACTLY: Final[dict[str, Node]] = {
    "pi": Constant("pi"),
    "infinity": Constant("infinity"),
    **dict.fromkeys(ALL_REALS, Symbol("reals")),
    **dict.fromkeys(ALL_INTEGERS, Symbol("integers")),
    **dict.fromkeys(ALL_NATURALS, Symbol("naturals")),
    **{word: Number(Fraction(value)) for word, value in ORDINALS.items()},
    **_HOURS,
}
"""What words say that stand alone."""
_SAID: Final = {"dne": "does not exist", "d n e": "does not exist"} | dict.fromkeys(
    ("infinitely many solutions", "infinite solutions", "infinitely many"), "infinitely many"
)
"""Words that say what others do."""


def spelled(tokens: list[Token]) -> str | None:
    """Words, letters and numbers in lower case as they are spaced; None where there is anything else, or too much."""
    if len(tokens) > _SPELLED_TOKENS:
        return None
    pieces: list[str] = []
    for token in tokens:
        if token.kind in ("word", "letter", "number", "join"):
            glued = pieces and token.kind in ("letter", "word") and not token.spaced
            pieces.append(("" if glued or not pieces else " ") + token.text.lower())
        elif token.text not in (",", "."):
            return None
    return "".join(pieces)


def stated_value(text: str) -> str | None:
    """The value of a sentence that states one, as in "The sum of the roots is 12."; None for any other text."""
    if len(text) > _SENTENCE_CHARS:
        return None
    match = _SENTENCE.fullmatch(_SENTENCE_LAYOUT.sub(" ", _TEXT_MACRO.sub(r"\1", text)).strip())
    if match is None or _NO_STATEMENT.search(match["subject"]):
        return None
    if len(match["subject"].split()) < _SUBJECT_WORDS and match["subject"] != "There":
        return None
    return match["value"].strip()


def said_in_words(words: list[str]) -> Node:
    """What lower-case words say: a number, a number of things, all reals, or a name without its article."""
    text = " ".join(words)
    bounded = _SIGNED_REALS.fullmatch(text)
    if bounded:
        return _INTERVALS[bounded[1].replace("-", "").replace(" ", "")]
    if text in _EXACTLY:
        return _EXACTLY[text]
    if text.endswith(" does not exist"):
        return Words("does not exist")
    if NO_SOLUTION.fullmatch(text):
        return Words("no solution")
    if words[0] == "neither" and "nor" in words:
        return Words("neither")
    parts = [part for word in words for part in word.split("-")]
    number = leading_number(parts)
    if number is not None:
        value, taken = number
        if taken == len(parts):
            return Number(value)
        unit = list(map(unit_word, parts[taken:]))
        if not measure(" ".join(unit)).unknown:
            return Measured(Number(value), " ".join(unit))
    start = 0
    while start < len(words) - 1 and (words[start] in ARTICLES or words[start] in ("answer", "final")):
        start += 1
    if len(words) - start > 1 and words[-1] == "function":
        words = words[:-1]
    named = [ABBREVIATIONS.get(word.rstrip("."), word) for word in words[start:]]
    said = " ".join(named)
    return Words(_SAID.get(said, said))


def as_date(tokens: list[Token]) -> Words | None:
    """`June 20` and `20 June`, which are one day of the year."""
    match = _DATE.fullmatch(spelled(tokens) or "")
    if match is None:
        return None
    day, month, year = match["day"] or match["later_day"], match["month"] or match["later_month"], match["year"]
    return Words(" ".join(part for part in (month, day, year) if part))
