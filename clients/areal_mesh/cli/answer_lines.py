"""The lines of a file of responses, as `areal-mesh verify` grades them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from areal_mesh.grading.answer_file import Line, Protocol
from areal_mesh.grading.explanation import printable
from areal_mesh.grading.verdict import GradeRequest
from areal_mesh.runtime.problem_lines import LineError, label, parse_line, references, shown


def read_lines(path: Path, protocol: Protocol) -> Iterator[Line]:
    """The lines of a JSONL file that are not blank; one that cannot be read says why.

    Raises:
        OSError: the file cannot be read.
    """
    end = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            end += len(raw)
            if raw.strip():
                yield _line(raw, number, end, protocol)


def _line(raw: bytes, number: int, end: int, protocol: Protocol) -> Line:
    row: dict[str, Any] = {}
    request, fault = None, ""
    try:
        row = parse_line(raw)
        response = row.get("response")
        # By its type: a number is text here, but no response.
        if type(response) is not str:
            raise LineError(f"response: expected a string, got {shown(response)}")
        request = GradeRequest(response, references(row.get("answer")), protocol)
        label(row, "source")
    except LineError as error:
        request, fault = None, f"line {number}: {error}"
    # A line that cannot be graded is still known by what it says of itself.
    return Line(number, end, request, fault, _said(row, "id"), _said(row, "source"))


def _said(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    return printable(value if isinstance(value, str) else "" if value is None else shown(value))
