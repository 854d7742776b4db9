"""The last step's figures as Prometheus gauges, where the controller serves its metrics."""

from pathlib import Path

from prometheus_client import Gauge

from areal_mesh.views.rows import MetricsTail
from areal_mesh.views.sinks.tracker import figures_of

_STEP = Gauge("areal_mesh_step", "Figures of the last step, by their names in metrics.jsonl", ["figure"])


class PrometheusGauges:
    """Follows the metrics of a run."""

    def __init__(self, metrics: Path) -> None:
        self._tail = MetricsTail(metrics)

    def catch_up(self) -> None:
        """Sets the gauges to the last step that is there."""
        row = None
        for row in self._tail.new_rows():  # noqa: B007 the last is wanted
            pass
        if row is not None:
            for name, value in {**figures_of(row), "step": float(row["step"])}.items():
                _STEP.labels(name).set(value)
