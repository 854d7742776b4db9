"""A row of somebody's file as a problem of one format: mended where that is safe, refused by name where it is not.

Safe is what cannot change what a problem says: line ends, a byte order mark, NUL, spaces round it, the type of an id.
Half a character is not: what is left without it may be another problem.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from areal_mesh.preparation.fields import WORKED, Fields
from areal_mesh.runtime.problem_lines import LineError, Number, references, shown
from areal_mesh.runtime.settings.data import PROBLEM_PLACE
from areal_mesh.runtime.settings.templates import TEMPLATES

_BOX = "\\boxed{"
_HALF = re.compile("[\ud800-\udfff]")
_LEVEL = re.compile(r"level\s*(\d+)", re.IGNORECASE)
_CONTROL = "<｜begin▁of▁sentence｜>"


@dataclass(frozen=True)
class Mended:
    """A problem, and what was mended in it."""

    id: str
    """Empty where the row has none."""
    problem: str
    solutions: tuple[str, ...]
    source: str
    difficulty: float | None
    mended: tuple[str, ...]

    def as_line(self) -> str:
        """The line of the prepared file."""
        row: dict[str, Any] = {
            "id": self.id,
            "problem": self.problem,
            "solutions": list(self.solutions),
            "source": self.source,
        }
        if self.difficulty is not None:
            row["difficulty"] = self.difficulty
        return json.dumps(row, ensure_ascii=False) + "\n"


def mend(row: Mapping[str, Any], fields: Fields, source: str) -> Mended:
    """The problem of a row.

    Args:
        source: of a row that names none.

    Raises:
        LineError: it has no problem or no answer that could be used; says what it has.
    """
    notes: list[str] = []
    problem = _problem(row, fields, notes)
    name = fields.name("solutions", row)
    if name is None:
        raise LineError(f"has no answer: no field of {', '.join(sorted(row))} is one; name it with --columns")
    return Mended(
        id=_id(fields.value("id", row), notes),
        problem=problem,
        solutions=_solutions(row[name], name in WORKED, notes),
        source=_source(fields.value("source", row)) or source,
        difficulty=_difficulty(fields.value("difficulty", row)),
        mended=tuple(notes),
    )


def _problem(row: Mapping[str, Any], fields: Fields, notes: list[str]) -> str:
    name = fields.name("problem", row)
    if name is None:
        raise LineError(f"has no problem: no field of {', '.join(sorted(row))} is one; name it with --columns")
    value = row[name]
    if not isinstance(value, str) or isinstance(value, Number):
        raise LineError(f"{name}: expected a string, got {shown(value)}")
    text = _clean(value, name, notes)
    bare = without_template(text)
    if bare != text:
        notes.append("prompt template taken off")
    if not bare:
        raise LineError(f"{name}: is blank")
    return bare


def without_template(prompt: str) -> str:
    """The problem in a prompt that was written by one of AReaL's templates; any other text as it is."""
    for template in TEMPLATES.values():
        before, _, after = template.partition(PROBLEM_PLACE)
        for start in (before, before.removeprefix(_CONTROL)):
            if start and prompt.startswith(start) and prompt.endswith(after.strip()):
                return prompt.removeprefix(start).removesuffix(after.strip()).strip()
    return prompt


def _clean(text: str, name: str, notes: list[str]) -> str:
    if half := _HALF.search(text):
        raise LineError(f"{name}: holds {half.group()!a}, half a character; what is left may be another problem")
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if lines != text:
        notes.append("line ends")
    bare = lines.replace("\0", "").replace("\ufeff", "")
    if bare != lines:
        notes.append("NUL or byte order mark taken out")
    return bare.strip()


def _id(value: Any, notes: list[str]) -> str:
    if isinstance(value, str) and value.strip() and not _HALF.search(value):
        if isinstance(value, Number):
            notes.append("id was a number")
        return str(value).strip()
    notes.append("id was missing")
    return ""


def _source(value: Any) -> str:
    return str(value) if isinstance(value, str) and not _HALF.search(value) else ""


def _difficulty(value: Any) -> float | None:
    """A number, or the number of a level (MATH: `Level 5`)."""
    if isinstance(value, str) and (level := _LEVEL.fullmatch(value.strip())):
        return float(level[1])
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _solutions(value: Any, may_be_worked: bool, notes: list[str]) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    there = [answer for answer in given if answer is not None and answer != ""]
    if not there:
        raise LineError(f"answer: expected a string, a number, or a list of them, got {shown(value)}")
    if len(there) < len(given):
        notes.append("null among answers")
    found: list[str] = []
    for answer in there:
        if isinstance(answer, str) and not isinstance(answer, Number):
            answer = _clean(answer, "answer", notes)
        final = boxed(answer) if may_be_worked and isinstance(answer, str) else None
        if final is not None and final != answer:
            notes.append("answer taken out of its box")
            answer = final
        text = references(answer)[0] if not isinstance(answer, list) else _refused(value)
        found.append(text.strip())
    return tuple(_each_once(found))


def _refused(value: Any) -> str:
    raise LineError(f"answer: expected a string, a number, or a list of them, got {shown(value)}")


def boxed(text: str) -> str | None:
    """What the last box of a text holds; None where there is none that is closed and not empty."""
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth = 0
    for place in range(start + len(_BOX) - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + len(_BOX) : place].strip() or None
    return None


def _each_once(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))
