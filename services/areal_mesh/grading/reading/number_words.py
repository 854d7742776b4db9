"""Numbers that are spelled in words: `twenty-one`, `two hundred and five`, `one half`, `negative five`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from areal_mesh.grading.vocabulary import NUMBER_WORDS

_SCALES: Final = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS: Final = {
    word: Fraction(1, value)
    for value, words in (
        (2, "half halves"), (3, "third thirds"), (4, "quarter quarters fourth fourths"), (5, "fifth fifths"),
        (6, "sixth sixths"),
        (7, "seventh sevenths"), (8, "eighth eighths"), (9, "ninth ninths"), (10, "tenth tenths"),
        (12, "twelfth twelfths"), (100, "hundredth hundredths"), (1000, "thousandth thousandths"),
    )
    for word in words.split()
}  # fmt: skip

MULTIPLIERS: Final = (
    {"dozen": Fraction(12), "tens": Fraction(10), "lakh": Fraction(10**5), "crore": Fraction(10**7)}
    | {"grand": Fraction(10**3), "mn": Fraction(10**6), "bn": Fraction(10**9), "tn": Fraction(10**12)}
    | {"万": Fraction(10**4), "亿": Fraction(10**8)}
    | {word + ending: Fraction(value) for word, value in _SCALES.items() for ending in ("", "s")}
    | {word: value for word, value in _PARTS.items() if word.endswith("s") and word != "quarters"}
)
"""Words that multiply the number before them: `1.5 million`, `4 fifths`."""

ORDINALS: Final = {
    opening + word: value
    for value, word in enumerate(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], start=1
    )
    for opening in ("", "the ")
}

_SIGNS: Final = frozenset({"negative", "minus"})


def leading_number(words: Sequence[str]) -> tuple[Fraction, int] | None:
    """(value, words taken) of the number that a sequence of words begins with; None where it begins with none.

    Words are in lower case, hyphens split them.
    """
    start = 1 if words and words[0] in _SIGNS else 0
    article = start + (words[start : start + 1] in (["a"], ["an"]))
    if words[article : article + 1] == ["half"] or (
        article > start and set(words[article : article + 1]) & _PARTS.keys()
    ):
        return (-1 if start else 1) * _PARTS[words[article]], article + 1
    whole, end = _whole(words, start)
    if whole is None:
        return None
    value = Fraction(whole)
    if end < len(words) and words[end] in _PARTS:
        value, end = value * _PARTS[words[end]], end + 1
    return (-value if start else value), end


def _whole(words: Sequence[str], start: int) -> tuple[int | None, int]:
    total, group, position = 0, None, start
    while position < len(words):
        word = words[position]
        if word in NUMBER_WORDS:
            value = NUMBER_WORDS[word]
            # "twenty one" adds up; "one two" is no number.
            if group is not None and not (group % 100 == 0 or (group % 10 == 0 and group % 100 > 10 and value < 10)):
                break
            group = (group or 0) + value
        elif word in _SCALES and group is not None:
            scale = _SCALES[word]
            total, group = (total, group * scale) if scale == 100 else (total + group * scale, 0)
        elif word != "and" or not group or position + 1 >= len(words) or words[position + 1] not in NUMBER_WORDS:
            break
        position += 1
    return (None if group is None else total + group), position
