"""The way of a data set: read, mended, told apart, held against evaluation sets and limits, written.

One row at a time, so that a set of any size takes the memory of its fingerprints.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from areal_mesh.preparation.fields import Fields, flattened
from areal_mesh.preparation.mending import Mended, mend
from areal_mesh.preparation.overlap import EvaluationSets, fingerprint
from areal_mesh.preparation.reading import Row
from areal_mesh.preparation.report import Report
from areal_mesh.runtime.problem_lines import LineError

UNREADABLE = "cannot be used"
DUPLICATE = "duplicate"
CONTAMINATED = "in an evaluation set"
TOO_LONG = "prompt too long"
HOPELESS = "no answer could match"
OTHER_ANSWERS = "duplicate with other answers"
SOME_HOPELESS = "one of several references could not match"
NEAR = "shares text with an evaluation set"
_NOTED_SHARE = 0.25
_BATCH = 512

Lengths = Callable[[Sequence[str]], Sequence[int]]
"""Tokens of the prompts of these problems."""
Matches = Callable[[str], bool]
"""Whether a reference matches itself in a box."""


@dataclass
class Preparation:
    """How a data set is prepared."""

    source: str
    """Of rows that name none, and in ids that are made."""
    fields: Fields
    metadata: Mapping[str, Any]
    """By id, what is known of a row beside it: AReaL's `id2info.json`."""
    evaluation: EvaluationSets
    share: float
    """Overlap with an evaluation problem over which a row is left out."""
    lengths: Lengths
    limit: int
    """Most tokens of a prompt."""
    matches: Matches
    report: Report = field(default_factory=Report)
    _seen: dict[bytes, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    _ids: dict[str, int] = field(default_factory=dict)

    def prepared(self, rows: Iterable[Row]) -> Iterator[Mended]:
        """The problems that are kept, in order; the report tells of the others once all were taken."""
        whole = self._whole(rows)
        while batch := list(islice(whole, _BATCH)):
            lengths = self.lengths([problem.problem for _, problem in batch])
            for (row, problem), length in zip(batch, lengths, strict=True):
                if length > self.limit:
                    text = f"{length:,} tokens, more than {self.limit:,}"
                    self.report.leave_out(row.number, TOO_LONG, text)
                    continue
                named = self._named(row, problem)
                self.report.keep(named.source, (*row.mended, *named.mended))
                yield named

    def _whole(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Mended]]:
        """Rows that hold a problem of their own with references that answers can match."""
        for row in rows:
            self.report.read += 1
            try:
                problem = self._problem(row)
            except LineError as error:
                self.report.leave_out(row.number, UNREADABLE, str(error))
                continue
            if self._is_new(row, problem) and self._is_clean(row, problem):
                usable = self._usable(row, problem)
                if usable is not None:
                    yield row, usable

    def _problem(self, row: Row) -> Mended:
        if row.fault:
            raise LineError(row.fault)
        value = flattened(row.value)
        if value is None:
            raise LineError("is not a JSON object")
        if self.metadata:
            key = self.fields.value("id", value)
            known = self.metadata.get(str(key).split("@idx:", 1)[0])
            if not isinstance(known, dict):
                raise LineError(f"id {key}: the metadata has none of that name, so there is no answer")
            value = {**{name: inner for name, inner in known.items() if name not in value}, **value}
        return mend(value, self.fields, self.source)

    def _is_new(self, row: Row, problem: Mended) -> bool:
        key = fingerprint(problem.problem)
        first, answers = self._seen.setdefault(key, (row.number, problem.solutions))
        if first == row.number:
            return True
        same = set(answers) & set(problem.solutions)
        text = f"the problem of line {first}"
        if same:
            self.report.leave_out(row.number, DUPLICATE, text)
        else:
            text = f"{text}, whose answer is {answers[0][:60]!a} and not {problem.solutions[0][:60]!a}"
            self.report.leave_out(row.number, OTHER_ANSWERS, text)
        return False

    def _is_clean(self, row: Row, problem: Mended) -> bool:
        found = self.evaluation.overlap(problem.problem) if len(self.evaluation) else None
        if found is None or found.share < _NOTED_SHARE:
            return True
        text = f"{found.share:.0%} of its n-grams are those of {found.evaluation}"
        if found.share >= self.share:
            self.report.leave_out(row.number, CONTAMINATED, text)
            return False
        self.report.note(row.number, NEAR, text)
        return True

    def _usable(self, row: Row, problem: Mended) -> Mended | None:
        """The problem with the references that an answer can match; None where there is none."""
        usable = tuple(answer for answer in problem.solutions if self.matches(answer))
        if not usable:
            shown = problem.solutions[0][:60]
            self.report.leave_out(row.number, HOPELESS, f"{shown!a} does not match itself in a box")
            return None
        if len(usable) < len(problem.solutions):
            lost = next(answer for answer in problem.solutions if answer not in usable)
            self.report.note(row.number, SOME_HOPELESS, f"{lost[:60]!a} is left out")
        return replace(problem, solutions=usable)

    def _named(self, row: Row, problem: Mended) -> Mended:
        """The problem with an id that no other has."""
        wanted = problem.id or f"{self.source}-{row.number}"
        count = self._ids[wanted] = self._ids.get(wanted, 0) + 1
        if count == 1:
            return replace(problem, id=wanted)
        name = f"{wanted}-{count}"
        while name in self._ids:
            count += 1
            name = f"{wanted}-{count}"
        self._ids[name] = 1
        return replace(problem, id=name, mended=(*problem.mended, "id was another's"))
