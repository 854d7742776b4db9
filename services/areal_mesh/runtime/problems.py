"""A problem, as a line of a prompt file gives it. Pure."""

import json
from dataclasses import dataclass

from areal_mesh.runtime.problem_columns import OWN_NAMES, text_of, value_at
from areal_mesh.runtime.problem_lines import LineError, Number, label, parse_line, references, shown
from areal_mesh.runtime.settings.data import ColumnSettings


@dataclass(frozen=True)
class Problem:
    """A line of the prompt file; any of `gold_answers` is right."""

    prompt_id: str
    problem: str
    gold_answers: tuple[str, ...]
    source: str


def parse_problem(
    raw: bytes, columns: ColumnSettings = OWN_NAMES, ordinal: int = 0, *, answers_needed: bool = True
) -> Problem:
    """A line of a prompt file: `id`, `problem`, `answer` or `solutions` and, where there is one, `source`.

    Args:
        columns: which fields these are; left out, those of these names.
        ordinal: the id, where the lines have none.
        answers_needed: whether a problem has to have a reference answer.

    Raises:
        LineError: it cannot be read, a field is missing or of a wrong type, or its text cannot be sent.
    """
    row = parse_line(raw)
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise LineError(f"holds {half}, half a character that no text may have; mend it") from error
    answer = value_at(row, columns.answer)
    if answer is None and columns.answer == OWN_NAMES.answer:
        answer = row.get("solutions")
    return Problem(
        prompt_id=str(ordinal) if columns.id is None else _named(value_at(row, columns.id), "id"),
        problem=_named(text_of(value_at(row, columns.problem), columns.problem or "problem"), "problem"),
        gold_answers=() if answer is None and not answers_needed else references(answer),
        source=label({"source": value_at(row, columns.source)}, "source"),
    )


def _named(text: object, field: str) -> str:
    if not isinstance(text, str) or not text or (isinstance(text, Number) and field != "id"):
        raise LineError(f"{field}: expected a string that is not empty, got {shown(text)}")
    return str(text)
