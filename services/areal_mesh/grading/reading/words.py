"""Letters outside LaTeX's text: which runs of them are words, and the singular of a unit."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading.vocabulary import ABBREVIATIONS, NUMBER_WORDS, UNIT_SYNONYMS

_VOWEL: Final = re.compile(r"[aeiouy]")


def singular(word: str) -> str:
    """A unit's singular: `miles` to `mile`; `inches` has its own entry."""
    if word in UNIT_SYNONYMS or len(word) == 1:
        return word
    return word[:-1] if word.endswith("s") else word


def is_word(run: str) -> bool:
    """Whether a run of letters outside LaTeX text is a word instead of a product of variables."""
    if len(run) < 3 or not (run.islower() or run[1:].islower()):
        return False
    if run[0].isupper() and run.lower() in ABBREVIATIONS:
        return True
    if singular(run.lower()) in UNIT_SYNONYMS or run.lower() in NUMBER_WORDS:
        return True
    return len(run) > 3 and _VOWEL.search(run.lower()) is not None
