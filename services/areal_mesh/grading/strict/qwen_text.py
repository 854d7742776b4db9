"""The text side of the strict Qwen protocol: what it extracts, and how it strips strings."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.vocabulary import NUMBER_WORDS

_TAIL: Final = 8 * limits.ANSWER_CHARS
_NUMBER: Final = re.compile(r"-?(?:\d{1,400}(?:\.\d{1,400})?|\.\d{1,400})")
_ARRAY: Final = re.compile(r"\\begin\{array\}\{[^{}]*\}")
_TRAILING_TEXT: Final = re.compile(r"\\text\{[^{}]*\}\Z")
_TEXT: Final = re.compile(r"\\text\{([^{}]*)\}")
_BARE_FRACTION: Final = re.compile(r"\\frac(?!\{)([^{}])(\{[^{}]*\}|[^{}])")
_BARE_ROOT: Final = re.compile(r"\\sqrt(\w+)")
_SLASH: Final = re.compile(r"(-?\d+)/(-?\d+)\Z")
_ZEROS: Final = re.compile(r"(\d+)\.0*(?=[^\d]|\Z)")

# The words that the protocol deletes wherever they stand alone.
_UNIT_WORDS: Final = """
acre am amp apple are area bc by cc cent centimeter cm coin cube cubic cucm day deg degree dm dollar dozen east
euro excess feet foot ft gain gal gallon gm gram hectare hour hr inch inches increase kg kilogram km kmh kmph lb
less liter litre loss mark men meter metre mile min minute minw mm monkey month more mp mph msqaure mt mtr
nochange noon number ohm ounce p.m per percent pie pm point pound prime profit profitofrs pure ratio rd rise
rounds rs rupee sec second soldier sq sqinch sqm square st th tile toy unit way west woman women yard year yr
"""
_UNIT_PATTERNS: Final = sorted((re.escape(word) + "s?" for word in _UNIT_WORDS.split()), key=len, reverse=True)
_UNIT: Final = re.compile(rf"(^|\W)(?:{'|'.join(_UNIT_PATTERNS)})($|\W)")

_REMOVED: Final = (
    r"\left", r"\right", r"\!", "^{\\circ}", r"^\circ", r"\$", "$", r"\(", r"\)",
)  # fmt: skip
_REMOVED_LATER: Final = ("x=", "y=", "z=", r"x\in", r"y\in", r"z\in", r"x\to", r"y\to", r"z\to", r"\%", "%")
_REPLACED: Final = (
    ("bmatrix", "pmatrix"), ("tfrac", "frac"), ("dfrac", "frac"), (r"\neq", r"\ne"), (r"\leq", r"\le"),
    (r"\geq", r"\ge"), (r"\{", "{"), (r"\}", "}"),
)  # fmt: skip


def extract(response: str, last_number: bool) -> str | None:
    """The answer as the protocol finds it; a box without an end counts, as it does there."""
    box = response.rfind("boxed")
    if box >= 0:
        return _box_content(response[box + len("boxed") : box + _TAIL])
    tail = response[-_TAIL:]
    for phrase in ("he answer is", "final answer is"):
        if phrase in tail:
            return tail.rsplit(phrase, 1)[1].strip()[: 2 * limits.ANSWER_CHARS]
    if not last_number:
        return None
    numbers = _NUMBER.findall(tail.replace(",", ""))
    return numbers[-1] if numbers else None


def _box_content(text: str) -> str:
    if not text.startswith("{"):
        return text.split("$", 1)[0].strip()[: 2 * limits.ANSWER_CHARS]
    depth = 0
    for match in re.finditer(r"[{}]", text):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return text[1 : match.start()]
    return text[1:]


def strip_answer(text: str) -> str:
    """The protocol's `strip_string`: units, layout, names and percent signs go, fractions become `\\frac{}{}`."""
    text = re.sub(r"\n\s*", "", text).strip().lstrip(":").rstrip("./").replace("\n", "")
    text = _ARRAY.sub(r"\\begin{pmatrix}", text).replace(r"\end{array}", r"\end{pmatrix}")
    for old, new in _REPLACED:
        text = text.replace(old, new)
    for removed in _REMOVED[:3]:
        text = text.replace(removed, "")
    text = _TRAILING_TEXT.sub("", text).strip() or text
    for _ in range(2):
        text = _UNIT.sub(r"\1\2", text) or text
    for removed in _REMOVED[3:]:
        text = text.replace(removed, "")
    number = NUMBER_WORDS.get(text.strip().lower())
    if number is not None:
        return str(number)
    text = _TEXT.sub(r"\1", text)
    for removed in _REMOVED_LATER:
        text = text.replace(removed, "")
    text = text.replace(r"\emptyset", "{}").replace(r"(-\infty,\infty)", r"\mathbb{R}")
    return _tidied(text)


def _tidied(text: str) -> str:
    text = text.replace(" .", " 0.").replace("{.", "{0.").replace("and", "").replace(r"\mathbf", "")
    text = text.replace("infinity", r"\infty")
    if "j" in text and "i" not in text:
        text = text.replace("j", "i")
    text = _ZEROS.sub(r"\1", text)
    text = text.strip()
    if text.startswith("."):
        text = "0" + text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    text = _BARE_ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")
    text = _BARE_FRACTION.sub(lambda match: rf"\frac{{{match.group(1)}}}{{{match.group(2).strip('{}')}}}", text)
    slash = _SLASH.match(text)
    return rf"\frac{{{slash.group(1)}}}{{{slash.group(2)}}}" if slash else text
