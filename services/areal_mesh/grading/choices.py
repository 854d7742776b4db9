"""Letters of multiple-choice answers: the letter as the answer, and the letter before the answer."""

from __future__ import annotations

import re
from typing import Final

_CHOICE: Final = re.compile(r"\(?\s*([A-Za-z])\s*(?:\)|[.:](?=\s|$)|\s(?=\())\s*(.*)\Z", re.DOTALL)
_NAMED_CHOICE: Final = re.compile(
    r"(?:option|choice|answer)\s+\(?\s*([A-Za-z])\s*\)?\s*\.?\Z"
    r"|\(?([A-Za-z])\)?\s+is\s+(?:the\s+)?(?:correct\s+)?(?:answer|option|choice|correct)\.?\Z",
    re.IGNORECASE | re.ASCII,
)
_OTHER_CHOICE: Final = re.compile(r"\([A-Za-z]\)|(?:^|\s)[A-Z][.:)](?=\s|$)|\bor\b|\band\b")
_OTHER_LETTER: Final = re.compile(r"(?<![A-Za-z\\])[A-Z](?![A-Za-z])|\b(?:not|wrong|incorrect|false)\b")
_TEXT_WRAPPER: Final = re.compile(
    r"\\(?:textbf|textrm|textnormal|text|mathrm|mathbf|mbox|rm|bf)(?![a-zA-Z])\s*|[{}$]|\\[ ,;:!]|~|\\q?quad"
)
_LABEL: Final = re.compile(
    r"\A(?:\\(?:textbf|text|textrm|mathrm|mathbf|mbox|bf)\s*\{\s*\(?[A-E]\)?[.:]?\s*\}|\([A-E]\)(?!\s*\())"
    r"(?:\s|\\[ ,;:]|~|\\q?quad|[:.])*(?=\S)",
    re.ASCII,
)
"""A choice's letter before its value: `\\textbf{(B)}\\ 502`."""
_PLAIN_LABEL: Final = re.compile(r"([A-H])\s*[.):]\s*(?=[^\s.):])", re.ASCII)
"""`B. 30`, `B) 30`, `B: 30`."""
_LONE_LETTER: Final = re.compile(r"[$\\({]*(?:text|textbf|mathrm)?[{(]*[A-Z][)}.$]*\s*\Z", re.ASCII)


def value_after_letter(text: str) -> str | None:
    """The value after a choice's letter, `502` of `\\textbf{(B)}\\ 502`; None where none or another letter follows."""
    label = _LABEL.match(text) or _PLAIN_LABEL.match(text)
    if label is None or _LONE_LETTER.match(text[label.end() :]):
        return None
    return text[label.end() :]


def choice_letter(text: str) -> str | None:
    """The choice's letter that stands before a value, `B` of `\\textbf{(B)}\\ 502`."""
    label = _LABEL.match(text) or _PLAIN_LABEL.match(text)
    if label is None or value_after_letter(text) is None:
        return None
    return next(letter for letter in reversed(label.group()) if "A" <= letter <= "H")


def is_choice(gold: str, answer: str) -> bool:
    """Whether the first is a choice's letter and the second that letter, with the choice's text or "option"."""
    letter = _TEXT_WRAPPER.sub("", gold).strip().strip("().").strip()
    if len(letter) != 1 or not ("A" <= letter <= "Z") or len(answer) > 300:
        return False
    plain = _TEXT_WRAPPER.sub(" ", answer).strip()
    named = _NAMED_CHOICE.match(plain)
    if named is not None:
        return (named.group(1) or named.group(2)).upper() == letter
    match = _CHOICE.match(plain)
    if match is None or match.group(1).upper() != letter:
        return False
    return not (_OTHER_CHOICE.search(match.group(2)) or _OTHER_LETTER.search(match.group(2)))
