"""Which field of a line is the problem, the reference answer, the id and the source: as settings say, else guessed.

Pure. Guessed once, from the first line of a file, by the names that data sets use; every line then has to be like it.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from areal_mesh.runtime.problem_lines import LineError, Number
from areal_mesh.runtime.settings.data import ColumnSettings

_NAMES: Mapping[str, Sequence[str]] = {
    "problem": ("problem", "question", "prompt", "query", "instruction", "input"),
    "answer": (
        *("answer", "answers", "final_answer", "expected_answer", "ground_truth", "gold", "reference", "references"),
        *("solution", "solutions", "target", "label", "output", "reward_model.ground_truth"),
    ),
    "id": ("id", "unique_id", "uid", "problem_id", "question_id"),
    "source": ("source", "data_source", "dataset"),
}
"""Tried in this order."""
_NEEDED = ("problem", "answer")


OWN_NAMES = ColumnSettings(**{key: key for key in _NAMES})


def said_of(columns: ColumnSettings) -> str:
    """What was taken for what, in words; empty where each has its own name."""
    named = {key: getattr(columns, key) for key in ("problem", "answer", "source")}
    parts = [f"`{name}` is the {key}" for key, name in named.items() if name not in (None, key)]
    if columns.answer is None:
        parts.append("there are no reference answers")
    if columns.id is None:
        parts.append("problems are numbered")
    elif columns.id != "id":
        parts.append(f"`{columns.id}` is the id")
    return ", ".join(parts)


def columns_of(row: Mapping[str, Any], given: ColumnSettings, *, answers_needed: bool = True) -> ColumnSettings:
    """What the fields of a file's first line are; None for what it does not have.

    Raises:
        LineError: a field that the settings name is not there, or nothing looks like a problem or an answer.
    """
    found: dict[str, str | None] = {}
    for key, names in _NAMES.items():
        named = getattr(given, key)
        if named is not None:
            if value_at(row, named) is None:
                near = difflib.get_close_matches(named, row, n=1)
                meant = f"did you mean {near[0]}?" if near else f"it has {_fields(row)}"
                raise LineError(f"has no `{named}` (prompts.columns.{key}); {meant}")
            found[key] = named
            continue
        found[key] = next((name for name in names if value_at(row, name) is not None), None)
        if found[key] is None and key in _NEEDED and (key == "problem" or answers_needed):
            raise LineError(
                f"{key}: expected a field of that name, or {', '.join(names[1:4])}, ...; the line has {_fields(row)}: "
                f"name it with --set prompts.columns.{key}=FIELD"
            )
    return ColumnSettings(**found)


def _fields(row: Mapping[str, Any]) -> str:
    return ", ".join(row) or "no field"


def value_at(row: Mapping[str, Any], name: str | None) -> Any:
    """The value of a field, `a.b` for b within a; None where there is none."""
    if name is None:
        return None
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any, name: str) -> Any:
    """The problem's text: as it stands, or of a conversation that is one message of the user.

    Raises:
        LineError: a conversation of more than that.
    """
    if not isinstance(value, list):
        return value
    roles = [message.get("role") if isinstance(message, dict) else None for message in value]
    if roles != ["user"]:
        said = ", ".join(str(role) for role in roles) or "nothing"
        raise LineError(
            f"{name}: expected a text, or a conversation of one user message, got {said}; a system message that all "
            "share is prompts.system"
        )
    content = value[0].get("content")
    if not isinstance(content, str) or isinstance(content, Number):
        raise LineError(f"{name}: expected a message whose content is text")
    return content
