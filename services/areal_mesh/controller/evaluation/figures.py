"""The figures of the evaluations so far: the last of each suite, and those that no step has told of."""

from collections.abc import Iterable

from areal_mesh.controller.ledger_reader import LedgerReader
from areal_mesh.controller.records import EvaluationRow, StepRow

_TOLD = ("pass_at_1", "majority", "response_length", "truncated", "seconds")
"""Figures that the metrics of a step tell; the ledger and `evaluations.jsonl` have all."""
PREFIX = "evaluation/"


class Evaluations:
    """The evaluations of a run.

    Args:
        ledger: what was written of them so far.
    """

    def __init__(self, ledger: LedgerReader) -> None:
        self.rows = ledger.evaluations()

    @property
    def version(self) -> int:
        """The version that was evaluated last; -1 for none."""
        return self.rows[-1].policy_version if self.rows else -1

    def add(self, rows: Iterable[EvaluationRow]) -> None:
        """Takes in those of a version."""
        self.rows += rows

    def news(self, step: StepRow | None) -> dict[str, float]:
        """Metrics for the step that is committed next: what has come since `step`, the last one."""
        since = 0.0 if step is None else step.committed_at
        return metrics_of(row for row in self.rows if row.finished_at > since)

    def latest(self) -> dict[str, float]:
        """The last figures of each suite, as metrics."""
        return metrics_of(self.rows)


def metrics_of(rows: Iterable[EvaluationRow]) -> dict[str, float]:
    """Figures as metrics `evaluation/SUITE/FIGURE`, the version that they are of among them; later rows win."""
    metrics: dict[str, float] = {}
    for row in rows:
        metrics[f"{PREFIX}{row.suite}/policy_version"] = float(row.policy_version)
        metrics |= {f"{PREFIX}{row.suite}/{name}": float(row.figures[name]) for name in _TOLD if name in row.figures}
    return metrics
