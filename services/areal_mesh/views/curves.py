"""`plots/curves.png`: reward and response length against step, stages marked, as Figure 1 of AReaL's release note."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from areal_mesh.views.drawing import new_figure, save_figure
from areal_mesh.views.rows import Row, moving_average, series, stage_starts

_RAW_COLOUR = "#9db8d2"
_MEAN_COLOUR = "#1f4e79"
_STAGE_COLOUR = "#b0413e"
# The release note smooths over 25 of some 440 steps; a short run gets the same share of its own.
_WINDOW = 25
_SHARE_OF_RUN = 10


def plot_curves(rows: Sequence[Row], path: Path) -> None:
    """Draws the two panels to `path` as PNG, whole or not at all. Needs matplotlib."""
    figure, (left, right) = new_figure()
    window = max(3, min(_WINDOW, len(rows) // _SHARE_OF_RUN))
    _panel(left, rows, "reward", "mean reward", window)
    _panel(right, rows, "response_length", "mean response length (tokens)", window)
    save_figure(figure, [path])


def _panel(axes: Any, rows: Sequence[Row], name: str, label: str, window: int) -> None:
    steps, values = series(rows, name)
    axes.plot(steps, values, color=_RAW_COLOUR, linewidth=1, label="each step")
    axes.plot(steps, moving_average(values, window), color=_MEAN_COLOUR, linewidth=2, label=f"mean of {window} steps")
    for step, stage in stage_starts(rows):
        axes.axvline(step, color=_STAGE_COLOUR, linestyle="--", linewidth=1)
        top = axes.get_xaxis_transform()
        axes.text(step, 1.01, f" {stage}", color=_STAGE_COLOUR, fontsize=9, transform=top)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
