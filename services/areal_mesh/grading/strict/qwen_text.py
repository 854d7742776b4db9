"""The text side of the strict Qwen protocol: what it extracts, and how it strips strings."""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading import limits
from areal_mesh.grading.reading.number_words import MULTIPLIERS, leading_number
from areal_mesh.grading.vocabulary import NUMBER_WORDS

_TAIL: Final = 8 * limits.ANSWER_CHARS
_NUMBER: Final = re.compile(r"-?(?:\d{1,400}(?:\.\d{1,400})?|\.\d{1,400})")
_ARRAY: Final = re.compile(r"\\begin\{array\}\{.*?\}")
_TRAILING_TEXT: Final = re.compile(r"\\text{.*?}$")
_TEXT: Final = re.compile(r"\\text\{(.*?)\}")
_BOX: Final = re.compile(r"\\mbox{.*?}")
_BARE_ROOT: Final = re.compile(r"\\sqrt(\w+)")
_ZEROS: Final = (re.compile(r"(\d+)\.0*([^\d])"), re.compile(r"(\d+)\.0*$"))
_WORD: Final = re.compile(r"[A-Za-z]|π|∏|°|â")

# What the protocol deletes wherever it stands between characters that are no letters, digits or underscores, in its
# order: each deletion may make room for the next.
_UNIT_WORDS: Final = """
east|degree|mph|kmph|ft|m sqaure| m east|sq m|deg|mile|q .|monkey|prime|ratio|profit of rs|rd|o|gm|p . m|lb|tile|per|dm
lt|gain|ab|way|west|a .|b .|c .|d .|e .|f .|g .|h .|t|a|h|no change|men|soldier|pie|bc|excess|st|inches|noon|percent|by
gal|kmh|c|acre|rise|a . m|th|π r 2|sq|mark|l|toy|coin|sq . m|gallon|° f|profit|minw|yr|women|feet|am|pm|hr|cu cm|square
v â € ™|are|rupee|rounds|cubic|cc|mtr|s|ohm|number|kmph|day|hour|minute|min|second|man|woman|sec|cube|mt|sq inch|mp
∏ cm ³|hectare|more|sec|unit|cu . m|cm 2|rs .|rs|kg|g|month|km|m|cm|mm|apple|liter|loss|yard|pure|year|increase|decrease
d|less|Surface|litre|pi sq m|s .|metre|meter|inch
"""
_UNITS: Final = [unit for line in _UNIT_WORDS.strip().split("\n") for unit in line.split("|")]
_UNIT_PATTERNS: Final = tuple(
    re.compile(rf"(^|\W){unit}($|\W)") for unit in (*_UNITS, *(f"{unit}s" for unit in _UNITS))
)
_NAMES: Final = ("x=", "y=", "z=", r"x\in", r"y\in", r"z\in", r"x\to", r"y\to", r"z\to")
_REPLACED: Final = (
    ("bmatrix", "pmatrix"), ("tfrac", "frac"), ("dfrac", "frac"), (r"\neq", r"\ne"), (r"\leq", r"\le"),
    (r"\geq", r"\ge"), (r"\left", ""), (r"\right", ""), (r"\{", "{"), (r"\}", "}"),
)  # fmt: skip
_REMOVED: Final = (r"^{\circ}", r"^\circ", r"\$", "$", r"\(", r"\)")


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


def strip_answer(text: str, *, opening: bool = False) -> str:
    """The protocol's `strip_string`: units, layout, names and percent signs go, fractions become `\\frac{}{}`.

    Of an extracted answer, an opening colon and a closing point and slash go first.
    """
    if opening:
        text = re.sub(r"\n\s*", "", text).removeprefix(":").removesuffix(".").removesuffix("/")
    text = text.strip().replace("\n", "").rstrip(".").replace(r"\!", "")
    text = _ARRAY.sub(r"\\begin{pmatrix}", text).replace(r"\end{array}", r"\end{pmatrix}")
    for old, new in _REPLACED:
        text = text.replace(old, new)
    text = _TRAILING_TEXT.sub("", text).strip() or text
    text = _without_units(text)
    for removed in _REMOVED:
        text = text.replace(removed, "")
    text = _TEXT.sub(r"\1", _in_digits(text))
    for name in _NAMES:
        text = text.replace(name, "")
    text = text.replace(r"\emptyset", "{}").replace(r"(-\infty,\infty)", r"\mathbb{R}")
    return _tidied(text.replace(r"\%", "").replace("%", ""))


def _without_units(text: str) -> str:
    for _ in range(2):
        if not _WORD.search(text):
            return text
        for pattern in _UNIT_PATTERNS:
            text = pattern.sub(r"\1\2", text) or text
    return text


def _in_digits(text: str) -> str:
    """The number that words say, or that digits do; any other text as it is."""
    if text.isascii() and text.isdigit():
        return str(int(text)) if len(text) <= limits.LITERAL_DIGITS else text
    words = [word for word in text.replace("-", " ").lower().split() if word in NUMBER_WORDS or word in MULTIPLIERS]
    found = leading_number(words)
    return str(found[0]) if found is not None and found[0].denominator == 1 else text


def _tidied(text: str) -> str:
    text = text.replace(" .", " 0.").replace("{.", "{0.").replace("infinity", r"\infty")
    if r"\infty" not in text:
        text = text.replace("inf", r"\infty")
    text = _BOX.sub("", text.replace("and", "").replace(r"\mathbf", ""))
    if "j" in text and "i" not in text:
        text = text.replace("j", "i")
    text = _ZEROS[1].sub(r"\1", _ZEROS[0].sub(r"\1\2", text))
    if text.startswith("."):
        text = "0" + text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    return _with_slash(_with_braces(_BARE_ROOT.sub(r"\\sqrt{\1}", text).replace(" ", "")))


def _with_braces(text: str) -> str:
    r"""`\frac12` with braces round its digits."""
    first, *rest = text.split(r"\frac")
    result = first
    for part in rest:
        if part.startswith("{"):
            result += rf"\frac{part}"
            continue
        if len(part) < 2:
            return text
        lower = part[1:] if part[1] == "{" else f"{{{part[1]}}}{part[2:]}"
        result += rf"\frac{{{part[0]}}}{lower}"
    return result


def _with_slash(text: str) -> str:
    """`3/4` as a fraction, of integers or of what has a root."""
    sides = text.split("/")
    if len(sides) != 2:
        return text
    for side in sides:
        if "sqrt" not in side and not (re.fullmatch(r"-?\d+", side, re.ASCII) and str(int(side)) == side):
            return text
    return rf"\frac{{{sides[0]}}}{{{sides[1]}}}"
