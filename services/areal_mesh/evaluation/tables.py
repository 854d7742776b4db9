"""The results of an evaluation as Markdown. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from areal_mesh.evaluation.published import PublishedRow
from areal_mesh.evaluation.scores import SuiteScore

Results = Mapping[str, Mapping[str, SuiteScore]]
"""By checkpoint, by suite, in the order in which they are shown."""
_ABSENT = "-"


def results_table(results: Results) -> str:
    """A row for each checkpoint and suite, with every figure."""
    head = [
        "checkpoint",
        "suite",
        "problems",
        "samples",
        "pass@1 (95 % interval)",
        "pass@k",
        "majority",
        "length",
        "truncated",
    ]
    rows = [
        [checkpoint, suite, *_figures(score)]
        for checkpoint, suites in results.items()
        for suite, score in suites.items()
    ]
    notes = [
        f"{checkpoint}, {suite}: {note}"
        for checkpoint, suites in results.items()
        for suite, score in suites.items()
        for note in _notes(score)
    ]
    return markdown(head, rows) + "".join(f"\n{note}\n" for note in notes)


def _figures(score: SuiteScore) -> list[str]:
    most = max(score.pass_at_k)
    return [
        str(score.problems),
        str(score.samples),
        f"{_percent(score.pass_at_1)} ({_percent(score.low)} to {_percent(score.high)})",
        f"{_percent(score.pass_at_k[most])} (k = {most})",
        _percent(score.majority),
        f"{score.response_length:,.0f}",
        _percent(score.truncated),
    ]


def _notes(score: SuiteScore) -> Iterable[str]:
    if score.refused:
        yield f"{score.refused} of {score.problems} problems could not be put to the model and count as not solved."
    if score.ungraded:
        yield f"{score.ungraded} responses could not be graded and do not count."


def comparison_table(results: Results, published: Sequence[PublishedRow]) -> str:
    """pass@1 in percent by suite, those published after one's own, each with its source."""
    suites = list(dict.fromkeys(suite for scores in results.values() for suite in scores))
    own = [
        [checkpoint, *(_percent(scores[suite].pass_at_1) if suite in scores else _ABSENT for suite in suites), "here"]
        for checkpoint, scores in results.items()
    ]
    others = [
        [
            row.model,
            *(f"{row.pass_at_1[suite]:.1f}" if suite in row.pass_at_1 else _ABSENT for suite in suites),
            row.source,
        ]
        for row in published
    ]
    return markdown(["model", *suites, "source"], own + others)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, a line feed at its end; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
