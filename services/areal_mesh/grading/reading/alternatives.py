r"""Second spellings of an answer that may be read in two ways: `2,65` as 2.65, `C(10,3)` as a number of choices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_DECIMAL_COMMA: Final = re.compile(
    r"[^\d,.()\[{]*(?:\d{1,12},(?:\d\d|\d{4,12})|0,\d{2,12})[^\d,.()\[\]{}]*\Z", re.ASCII
)
_SIGNED_COMMA: Final = re.compile(r"[^\d,()\[]*\d{1,12},(?:\d{1,2}|\d{4,12})[^\d,()\[\]]*\Z", re.ASCII)
_SIGN: Final = re.compile(r"[$%]|\\(?:euro|pounds|yen|rupee|yuan|text|mathrm)")
"""With a unit there is one number."""
_MIXED_MARKS: Final = re.compile(r"[^\d,.]*\d{1,3}(?:\.\d{3})+,\d{1,4}[^\d,.]*\Z")
_LAKHS: Final = re.compile(r"[^\d,.]*\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?[^\d,.]*\Z")
_COUNTS: Final = re.compile(r"([CPA])\s*\(\s*(\w{1,4})\s*,\s*(\w{1,4})\s*\)", re.ASCII)
_ARRANGED: Final = re.compile(r"(?:\{\s*\})?[_^]\s*\{?(\w{1,4}?)\}?\s*([PA])\s*_\s*\{?(\w{1,4})\}?\Z", re.ASCII)
_SCHOOL: Final = re.compile(r"(?:\\mathrm\{)?([PA])\}?_\s*\{?(\d{1,4})\}?\s*\^\s*\{?(\d{1,4})\}?\Z", re.ASCII)
_NUMBERED: Final = re.compile(r"(?:\(\d{1,2}\)\s*){2,12}\Z", re.ASCII)


def other_spellings(text: str, *, reference: bool) -> Iterator[str]:
    """What else an answer may mean; a reference's comma lists, unless a unit says that there is one number."""
    if len(text) > 60:
        return
    if "," in text:
        signed = _SIGN.search(text) and _SIGNED_COMMA.match(text)
        if signed or (not reference and _DECIMAL_COMMA.match(text)):
            yield text.replace(",", ".")
        elif _MIXED_MARKS.match(text):
            yield text.replace(".", "").replace(",", ".")
        elif _LAKHS.match(text):
            yield text.replace(",", "")
    counted = _COUNTS.fullmatch(text)
    if counted:
        yield _count(*counted.groups())
    arranged = _ARRANGED.match(text)
    if arranged:
        yield _count(arranged[2], arranged[1], arranged[3])
    school = _SCHOOL.match(text)
    if school:
        yield _count(*school.groups())
    if _NUMBERED.match(text):
        yield text.replace(")", "),").rstrip(", ")


def _count(letter: str, total: str, chosen: str) -> str:
    """A number of choices, or of arrangements."""
    choices = rf"\binom{{{total}}}{{{chosen}}}"
    return choices if letter == "C" else rf"{choices}\cdot {chosen}!"
