"""Figures 1 and 3 of AReaL's release note: reward and response length against step, averaged over several runs.

Curves are moving averages over the last 25 steps, as the note's. Of several runs each step's value is the mean over
the runs that have it, averaged thereafter; the runs themselves stand behind it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.views.drawing import new_figure, save_figure
from areal_mesh.views.rows import Row, moving_average, series, stage_starts

NOTE_WINDOW = 25
_MEAN_COLOUR = "#1f4e79"
_RUN_COLOUR = "#9db8d2"
_STAGE_COLOUR = "#b0413e"
_PANELS = (("reward", "mean reward"), ("response_length", "mean response length (tokens)"))
Runs = Mapping[str, Sequence[Row]]
"""The rows of each run's `metrics.jsonl`, by its name."""


def averaged(runs: Runs, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a metric, each the mean over the runs that have it at that step."""
    values: dict[int, list[float]] = {}
    for rows in runs.values():
        for step, value in zip(*series(rows, name), strict=True):
            values.setdefault(step, []).append(value)
    steps = sorted(values)
    return steps, [sum(values[step]) / len(values[step]) for step in steps]


def averaged_starts(runs: Runs) -> list[tuple[float, str]]:
    """First step of each stage after the first, the mean over the runs that came to it, in the order of the stages."""
    starts: dict[str, list[int]] = {}
    for rows in runs.values():
        for step, stage in stage_starts(rows)[1:]:
            starts.setdefault(stage, []).append(step)
    return sorted((sum(steps) / len(steps), stage) for stage, steps in starts.items())


def plot_training(runs: Runs, paths: Sequence[Path], stages: bool, window: int = NOTE_WINDOW) -> None:
    """Draws the two panels to each path by its suffix. Needs matplotlib.

    Args:
        stages: whether changes of stage are marked, as in Figure 1; Figure 3 is of a run without.
    """
    figure, axes = new_figure()
    for panel, (name, label) in zip(axes, _PANELS, strict=True):
        _panel(panel, runs, name, label, window)
        for step, stage in averaged_starts(runs) if stages else ():
            panel.axvline(step, color=_STAGE_COLOUR, linestyle="--", linewidth=1)
            panel.text(step, 1.01, f" {stage}", color=_STAGE_COLOUR, fontsize=9, transform=panel.get_xaxis_transform())
    save_figure(figure, paths)


def _panel(axes: Any, runs: Runs, name: str, label: str, window: int) -> None:
    if len(runs) > 1:
        for run, rows in runs.items():
            steps, values = series(rows, name)
            axes.plot(steps, moving_average(values, window), color=_RUN_COLOUR, linewidth=1, label=run)
    steps, values = averaged(runs, name)
    which = f"mean of {len(runs)} runs, " if len(runs) > 1 else ""
    told = f"{which}window {window}"
    axes.plot(steps, moving_average(values, window), color=_MEAN_COLOUR, linewidth=2, label=told)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
