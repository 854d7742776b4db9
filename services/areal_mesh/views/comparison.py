"""Several runs in one picture: reward and response length against step and against time, laid over each other."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.views.rows import Row, moving_average, series

_WINDOW = 10
_PANELS = (("reward", "mean reward"), ("response_length", "mean response length (tokens)"))


def plot_runs(runs: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Draws the runs' curves to a new file as PNG. Needs matplotlib.

    Raises:
        FileExistsError: the file is there; it is left as it is.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels: Any = figure.subplots(2, 2)
    for line, (metric, label) in enumerate(_PANELS):
        for name, rows in runs.items():
            steps, values = series(rows, metric)
            smooth = moving_average(values, min(_WINDOW, max(1, len(values) // 5)))
            panels[line][0].plot(steps, smooth, label=name)
            panels[line][1].plot(_minutes(rows, metric), smooth, label=name)
        for column, across in enumerate(("step", "minutes since the first step")):
            axes = panels[line][column]
            axes.set_xlabel(across)
            axes.set_ylabel(label)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False, fontsize=9)
    drawn = io.BytesIO()
    canvas.print_png(drawn)
    with path.open("xb") as file:
        file.write(drawn.getvalue())


def _minutes(rows: Sequence[Row], metric: str) -> list[float]:
    """When the steps that have a metric were committed, in minutes from the run's first step."""
    times = [float(row.get("committed_at", 0.0)) for row in rows if row.get(metric) is not None]
    return [(time - times[0]) / 60 for time in times]
