"""The results of an evaluation: grades its file of responses, and writes figures, tables and a plot beside it."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.cli.evaluation_folder import PLOTS, RESPONSES, RESULTS, TABLE, VERDICTS, write_whole
from areal_mesh.cli.examined import Examined
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.evaluation.published import PublishedRow
from areal_mesh.evaluation.responses import REFUSED, Response, read_responses
from areal_mesh.evaluation.scores import GradedSample, SuiteScore, score_suite
from areal_mesh.evaluation.tables import comparison_table, results_table
from areal_mesh.grading.answer_file import Graded, Line, grade_lines
from areal_mesh.grading.grade import rounded
from areal_mesh.grading.verdict import GradeRequest

Results = dict[str, dict[str, SuiteScore]]
"""By checkpoint, by suite."""


def grade_responses(path: Path, models: Mapping[str, Examined]) -> Iterator[tuple[Response, Graded]]:
    """Each response with its verdict, in the order of the file."""
    responses = list(read_responses(path))
    lines = [_line(number, response, models) for number, response in enumerate(responses, start=1)]
    return zip(responses, grade_lines(lines), strict=True)


def _line(number: int, response: Response, models: Mapping[str, Examined]) -> Line:
    verifier = models[response.key.checkpoint].settings.verifier
    golds = rounded(response.golds) if verifier.rounded_golds else response.golds
    request = GradeRequest(response.text, golds, verifier.protocol)
    return Line(number, 0, request, identifier=response.key.identifier, source=response.key.suite)


def graded_sample(response: Response, graded: Graded) -> GradedSample:
    """A response and its verdict as the scores take it."""
    status = graded.verdict.status
    return GradedSample(
        problem_id=response.key.problem_id,
        correct=None if status == "error" else status == "correct",
        answer=graded.verdict.normalised or "",
        tokens=response.tokens,
        truncated=response.finish_reason == "length",
        refused=response.finish_reason == REFUSED,
    )


def conclude(folder: Path, models: Sequence[Examined], suites: Sequence[str], published: Sequence[PublishedRow]) -> str:
    """Grades what is in the folder's file of responses, writes every result, and returns the tables."""
    by_label = {model.label: model for model in models}
    samples: dict[tuple[str, str], list[GradedSample]] = {}
    verdicts = []
    for response, graded in grade_responses(folder / RESPONSES, by_label):
        verdicts.append(json.dumps(graded.record()) + "\n")
        samples.setdefault((response.key.checkpoint, response.key.suite), []).append(graded_sample(response, graded))
    write_whole(folder / VERDICTS, "".join(verdicts))
    results = {model.label: {suite: _score(samples, model.label, suite) for suite in suites} for model in models}
    text = results_table(results)
    if published:
        text += f"\n{comparison_table(results, published)}"
    write_whole(folder / TABLE, text)
    rows = list(result_rows(results, by_label))
    told = {"results": rows, "published": [dataclasses.asdict(row) for row in published]}
    write_whole(folder / RESULTS, json.dumps(told, indent=2) + "\n")
    _plot(rows, folder)
    return text


def _score(samples: Mapping[tuple[str, str], Sequence[GradedSample]], label: str, suite: str) -> SuiteScore:
    try:
        return score_suite(samples.get((label, suite), ()))
    except ValueError as error:
        raise CommandFailed(f"{label}, {suite}: {error}; `areal-mesh verify` on responses.jsonl says why") from error


def result_rows(results: Results, models: Mapping[str, Examined]) -> Iterator[dict[str, Any]]:
    """A row for each checkpoint and suite, as JSON has it."""
    for label, suites in results.items():
        for suite, score in suites.items():
            named = {"checkpoint": label, "policy_version": models[label].version, "suite": suite}
            yield named | dataclasses.asdict(score)


def _plot(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        print(f"{folder}: no plot, for matplotlib is not installed; install areal-mesh[views]", file=sys.stderr)
        return
    from areal_mesh.views.accuracy import plot_accuracy

    plot_accuracy(rows, [folder / name for name in PLOTS])
