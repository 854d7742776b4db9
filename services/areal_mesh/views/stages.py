"""The stages of runs as Table 1 of AReaL's release note has them: what each came to, and how it was evaluated. Pure."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from areal_mesh.runtime.curves import first_and_last
from areal_mesh.views.rows import Row

_ABSENT = "-"
_CURVES = (("reward", "+.2f"), ("response_length", ",.0f"), ("truncated", ".0%"))


def stage_rows(run: str, rows: Sequence[Row], evaluations: Sequence[Row], suites: Sequence[str]) -> list[list[str]]:
    """A line for the start model, where it was evaluated, and one for each stage.

    A stage's score is that of the last version that was evaluated in it; its curves are means over up to five steps at
    either end.
    """
    lines = []
    start = _scores(evaluations, suites, 0, 0)
    if any(score != _ABSENT for score in start):
        lines.append([run, "start", "0", *[_ABSENT] * (len(_CURVES) + 1), *start])
    for _, group in groupby(rows, lambda row: row.get("stage")):
        stage = list(group)
        first, last = int(stage[0]["step"]), int(stage[-1]["step"])
        limit = stage[0].get("max_response_tokens")
        lines.append(
            [
                run,
                str(stage[0].get("stage_name", stage[0].get("stage", _ABSENT))),
                str(len(stage)),
                _ABSENT if limit is None else f"{limit:,}",
                *(_ends(stage, name, style) for name, style in _CURVES),
                *_scores(evaluations, suites, first, last),
            ]
        )
    return lines


def stage_head(suites: Sequence[str]) -> list[str]:
    """The headings of `stage_rows`."""
    return ["run", "stage", "steps", "limit", "reward", "length", "truncated", *suites]


def suites_of(evaluations: Sequence[Row]) -> list[str]:
    """The suites that were evaluated, in the order of their first evaluation."""
    return list(dict.fromkeys(str(row["suite"]) for row in evaluations))


def _ends(stage: Sequence[Row], name: str, style: str) -> str:
    ends: Mapping[str, Any] = first_and_last([row.get(name) for row in stage])
    if ends["last"] is None:
        return _ABSENT
    return f"{ends['first']:{style}} to {ends['last']:{style}}"


def _scores(evaluations: Sequence[Row], suites: Sequence[str], first: int, last: int) -> list[str]:
    scores = []
    for suite in suites:
        found = [row for row in evaluations if row["suite"] == suite and first <= int(row["policy_version"]) <= last]
        newest = max(found, key=lambda row: int(row["policy_version"]), default=None)
        scores.append(_ABSENT if newest is None else f"{100 * float(newest['pass_at_1']):.1f}")
    return scores
