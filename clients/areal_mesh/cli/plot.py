"""`areal-mesh plot`: the figures of AReaL's release note, and its table of stages, from runs of one's own."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from areal_mesh.cli.evaluation_folder import IDENTITY, RESULTS
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.report import run_folder
from areal_mesh.evaluation.tables import markdown
from areal_mesh.views.accuracy import plot_accuracy
from areal_mesh.views.drawing import drawn_here
from areal_mesh.views.figures import plot_training
from areal_mesh.views.rows import Row, read_rows
from areal_mesh.views.run_views import EVALUATIONS_FILE, METRICS_FILE
from areal_mesh.views.stages import stage_head, stage_rows, suites_of

_KINDS = ("png", "svg")
ACCURACY = 4
"""The figure of evaluations; the others are of training."""


def plot(sources: Sequence[str], figure: int, output: str) -> None:
    """Draws a figure as PNG and SVG, and prints the table of stages.

    Args:
        sources: runs; of Figure 4 also folders of evaluations.
        figure: 1, 3 or 4.
        output: folder; empty: the run's own, or `plots` for several.

    Raises:
        CommandFailed: there is no such run, it has nothing to draw, or a file is there that is none of ours.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandFailed("matplotlib is not installed; install areal-mesh[views]")
    if figure == ACCURACY:
        rows, names = _evaluations(sources), sources
        paths = _paths(sources, figure, output)
        plot_accuracy(rows, paths)
    else:
        runs = {folder.name: _metrics(folder) for folder in map(run_folder, sources)}
        if len(runs) < len(sources):
            raise CommandFailed("two runs have one name; plot them apart")
        names, paths = list(runs), _paths(sources, figure, output)
        plot_training(runs, paths, stages=figure == 1)
    print(f"figure {figure} of {', '.join(names)}: {', '.join(map(str, paths))}\n")
    print(_table(sources), end="")


def _metrics(folder: Path) -> list[Row]:
    rows = read_rows(folder / METRICS_FILE)
    if not rows:
        raise CommandFailed(f"{folder}: the run has not committed a step yet; there is nothing to draw")
    return rows


def _is_evaluation(source: str) -> bool:
    return (Path(source) / IDENTITY).is_file()


def _evaluations(sources: Sequence[str]) -> list[Row]:
    """The rows of evaluations: those of runs during training, and those of `areal-mesh eval`."""
    rows: list[Row] = []
    for source in sources:
        if _is_evaluation(source):
            results = Path(source) / RESULTS
            if not results.is_file():
                raise CommandFailed(f"{source}: the evaluation has no {RESULTS} yet; run it to its end")
            found: list[Any] = json.loads(results.read_text(encoding="utf-8"))["results"]
            rows += found
            continue
        folder = run_folder(source)
        several = {"checkpoint": folder.name} if len(sources) > 1 else {}
        own = read_rows(folder / EVALUATIONS_FILE)
        if not own:
            raise CommandFailed(
                f"{folder}: nothing was evaluated during training (evaluation.every = 0?); examine its "
                "checkpoints with `areal-mesh eval`, and give that folder"
            )
        rows += [
            {**row, **({"checkpoint": f"{folder.name}@{row['policy_version']}"} if several else {})} for row in own
        ]
    return rows


def _paths(sources: Sequence[str], figure: int, output: str) -> list[Path]:
    """Where the figure goes. Raises CommandFailed where a file is there that was not drawn here."""
    if output:
        folder = Path(output)
    elif len(sources) == 1:
        folder = (Path(sources[0]) if _is_evaluation(sources[0]) else run_folder(sources[0])) / "plots"
    else:
        folder = Path("plots")
    paths = [folder / f"figure-{figure}.{kind}" for kind in _KINDS]
    for path in paths:
        if path.exists() and not drawn_here(path):
            raise CommandFailed(
                f"{path}: is there and was not drawn here, so it is left as it is; give another --output"
            )
    return paths


def _table(sources: Sequence[str]) -> str:
    """The stages of the runs; empty where none is given."""
    runs = [run_folder(source) for source in sources if not _is_evaluation(source)]
    evaluations = {run: read_rows(run / EVALUATIONS_FILE) for run in runs}
    suites = suites_of([row for rows in evaluations.values() for row in rows])
    lines = [
        line for run in runs for line in stage_rows(run.name, read_rows(run / METRICS_FILE), evaluations[run], suites)
    ]
    return markdown(stage_head(suites), lines) if lines else ""
