"""A line of a file of problems or of answers: JSON, read as it is written.

Pure, and the one reader of such lines. A number is kept as the text that stands in the file, for the float it would
become is another one (0.00001 would be 1e-05, 3.50 would be 3.5).
"""

import json
import math
from codecs import BOM_UTF8
from decimal import Decimal
from typing import Any

_FINAL_ANSWER = "####"
"""GSM8K ends a worked solution with this and the answer."""
_BOX = "\\boxed{"
"""A worked solution as of MATH has its answer in the last of these."""
_LONGEST_EXPONENT = 400
_EXPECTED = "expected a string, a number, or a list of them"


class LineError(ValueError):
    """What is wrong with a line, and what would do; where it stands is for the caller to say."""


class Number(str):
    """A JSON number as it is written, `NaN` and `Infinity` too."""


def parse_line(raw: bytes) -> dict[str, Any]:
    """The JSON object of a line; its numbers are `Number`.

    Raises:
        LineError: not UTF-8, not JSON, no object, or a key stands in it twice.
    """
    try:
        value = json.loads(
            raw.removeprefix(BOM_UTF8).decode(),
            parse_float=Number,
            parse_int=Number,
            parse_constant=Number,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise LineError(f"is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise LineError(f"is not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise LineError("is not JSON: nested too deeply") from error
    if not isinstance(value, dict):
        raise LineError("is not a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise LineError(f"{twice}: stands twice in one object; take one out")
    return value


def label(row: dict[str, Any], field: str) -> str:
    """What a line says of itself in `field`, a string or a number; empty where it says nothing.

    Raises:
        LineError: it is something else.
    """
    value = row.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise LineError(f"{field}: expected a string, got {shown(value)}")
    return str(value)


def references(answer: object) -> tuple[str, ...]:
    """The reference answers of a line, any of which is right, each as a person would write it.

    A number keeps its decimals, without an exponent; of a worked solution as GSM8K writes it, what follows the last
    `####` is the answer.

    Raises:
        LineError: no string, finite number or list of them, or a string that is blank.
    """
    answers = answer if isinstance(answer, list) else [answer]
    if not answers:
        raise LineError(f"answer: {_EXPECTED}, got {shown(answer)}")
    return tuple(_reference(item, answer) for item in answers)


def _reference(item: object, answer: object) -> str:
    if isinstance(item, Number):
        return _decimals(item)
    if not isinstance(item, str):
        raise LineError(f"answer: {_EXPECTED}, got {shown(answer)}")
    _, mark, final = item.rpartition(_FINAL_ANSWER)
    text = final.strip() if mark else _boxed(item)
    if not text.strip():
        what = f"nothing follows {_FINAL_ANSWER}" if mark else "it is blank"
        raise LineError(f"answer: {_EXPECTED}, got {shown(answer)}: {what}")
    return text


def _boxed(text: str) -> str:
    """What the last box of a worked solution holds; the text itself where it has none, or one that is never closed."""
    start = text.rfind(_BOX) + len(_BOX)
    if start < len(_BOX):
        return text
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return text


def _decimals(number: Number) -> str:
    """A JSON number without its exponent: graders take `1e-05` for an expression in e."""
    if not any(letter in number for letter in "eENI"):
        return str(number)
    if not math.isfinite(float(number)):
        raise LineError(f"answer: {number} is no number that can be compared; write it as a string")
    value = Decimal(number)
    if abs(value.adjusted()) > _LONGEST_EXPONENT:
        raise LineError(f"answer: {number} has no decimals that can be written out; write it as a string")
    return f"{value:f}"


def shown(value: object) -> str:
    """A value of a line for a message, in JSON's words and cut short."""
    text = str(value) if isinstance(value, Number) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
