"""Grading the lines of a file of responses: the entry point of `areal-mesh verify`, which reads them.

Every line gets exactly one outcome, in order: a verdict, or an error with its line number. Algebra runs in
worker processes, as in the service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from areal_mesh.grading.explanation import explain
from areal_mesh.grading.synchronous_pool import SynchronousPool
from areal_mesh.grading.verdict import GradeRequest, Protocol, Verdict

__all__ = ["UNREADABLE", "Graded", "Line", "Protocol", "explain_line", "grade_lines"]

_BATCH: Final = 256
_BATCH_SECONDS: Final = 120.0
"""More than a batch of answers takes that all reach their own deadlines."""
UNREADABLE: Final = "unreadable line"
VERDICT_KEYS: Final = frozenset({"line", "status", "rule", "extracted", "normalised"})
"""What every record of a verdict has."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file."""

    number: int
    """From 1."""
    end: int
    """Bytes of the file up to its end."""
    request: GradeRequest | None
    """None for a line that cannot be graded."""
    fault: str = ""
    """Why it cannot."""
    identifier: str = ""
    """The `id` that the line gives; empty where it gives none."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Graded:
    """A line and its verdict: an `error` with the rule `unreadable line` for one that cannot be graded."""

    line: Line
    verdict: Verdict

    def record(self) -> dict[str, Any]:
        """The verdict as one JSON object, with what the line says of itself."""
        named = {"id": self.line.identifier, "source": self.line.source, "fault": self.line.fault}
        return {
            "line": self.line.number,
            **{name: text for name, text in named.items() if text},
            "status": self.verdict.status,
            "rule": self.verdict.rule,
            "extracted": self.verdict.extracted,
            "normalised": self.verdict.normalised,
        }


def grade_lines(lines: Iterable[Line], *, batch: int = _BATCH) -> Iterator[Graded]:
    """Each line with its verdict, in order."""
    with SynchronousPool() as pool:
        remaining = iter(lines)
        while group := list(islice(remaining, batch)):
            requests = [line.request for line in group if line.request is not None]
            verdicts = iter(pool.grade_many(requests, _BATCH_SECONDS))
            for line in group:
                unreadable = Verdict("error", None, None, UNREADABLE)
                yield Graded(line, unreadable if line.request is None else next(verdicts))


def explain_line(lines: Iterable[Line], identifier: str) -> list[str] | None:
    """Why one line's answer was judged so, step by step.

    `identifier` is a line's `id`, or its number where no line has that `id`; empty: the first line whose verdict is not
    correct. None where there is no such line.

    Raises:
        ValueError: the line cannot be graded.
    """
    if not identifier:
        graded = grade_lines(lines, batch=16)
        chosen = next((item.line for item in graded if item.verdict.status != "correct"), None)
    else:
        known = list(lines)
        by_number = (line for line in known if str(line.number) == identifier)
        chosen = next((line for line in known if line.identifier == identifier), None) or next(by_number, None)
    if chosen is None:
        return None
    if chosen.request is None:
        raise ValueError(chosen.fault)
    with SynchronousPool() as pool:
        steps = explain(chosen.request, lambda request: pool.grade_many([request], _BATCH_SECONDS)[0])
    named = f" (id {chosen.identifier})" if chosen.identifier else ""
    return [f"line {chosen.number}{named}, protocol {chosen.request.protocol}", *steps]
