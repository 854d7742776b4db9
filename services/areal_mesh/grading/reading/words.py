"""Letters outside LaTeX's text: which runs of them are words."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading.unit_table import is_unit_name
from areal_mesh.grading.vocabulary import ABBREVIATIONS, NUMBER_WORDS

_VOWEL: Final = re.compile(r"[aeiouy]")


def is_word(run: str) -> bool:
    """Whether a run of letters outside LaTeX text is a word instead of a product of variables."""
    if run.lower() == "ans":
        return True
    if len(run) < 3 or not (run.islower() or run[1:].islower()):
        return False
    if run[0].isupper() and run.lower() in ABBREVIATIONS:
        return True
    if is_unit_name(run.lower()) or run.lower() in NUMBER_WORDS:
        return True
    return len(run) > 3 and _VOWEL.search(run.lower()) is not None
