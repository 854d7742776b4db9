"""Answers that are words: how their tokens spell, and dates."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.verifier.lexer import Token
from areal_mesh.verifier.nodes import Words
from areal_mesh.verifier.vocabulary import MONTHS

_SPELLED_TOKENS: Final = 64
_MONTH: Final = "|".join(MONTHS.split())
_DATE: Final = re.compile(
    rf"(?:(?P<month>{_MONTH}) (?P<day>\d{{1,2}})(?: ?(?:st|nd|rd|th))?"
    rf"|(?P<later_day>\d{{1,2}})(?: ?(?:st|nd|rd|th))?(?: of)? ?(?P<later_month>{_MONTH}))(?: (?P<year>\d{{4}}))?"
)


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


def as_date(tokens: list[Token]) -> Words | None:
    """`June 20` and `20 June`, which are one day of the year."""
    match = _DATE.fullmatch(spelled(tokens) or "")
    if match is None:
        return None
    day, month, year = match["day"] or match["later_day"], match["month"] or match["later_month"], match["year"]
    return Words(" ".join(part for part in (month, day, year) if part))
