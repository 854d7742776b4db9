"""`areal-mesh plan --figure 2`: hours by nodes, the release note's bars beside those that are predicted."""

from collections.abc import Sequence
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.planning.published import FIGURE_2, RUNS
from areal_mesh.planning.rows import PlanRow
from areal_mesh.runtime.settings import RunSettings


def draw_hours(rows: Sequence[PlanRow], settings: RunSettings, path: Path) -> None:
    """Draws the figure, and says where it is.

    Raises:
        CommandFailed: matplotlib is not installed, or `path` holds something else.
    """
    try:
        from areal_mesh.views.hours import FIGURE_SUFFIXES, HoursBar, NotOurs, plot_hours
    except ImportError as error:
        raise CommandFailed(f"--figure: {error}; install areal-mesh[views]") from error
    if path.suffix not in FIGURE_SUFFIXES:
        raise CommandFailed(f"--to {path}: give a file that ends in {' or '.join(FIGURE_SUFFIXES)}")
    size = _size(settings)
    table = {
        int(name.split(", ")[1].split()[0]): run.hours
        for name, run in RUNS.items()
        if run.hours is not None and name.startswith(f"{size},")
    }
    bars = [HoursBar(row.nodes, row.hours, table.get(row.nodes), FIGURE_2.get(size, {}).get(row.nodes)) for row in rows]
    try:
        plot_hours(bars, settings.name, path)
    except NotOurs as error:
        raise CommandFailed(f"--to {path}: {error}") from error
    except ImportError as error:
        raise CommandFailed(f"--figure: {error}; install areal-mesh[views]") from error
    print(path)


def _size(settings: RunSettings) -> str:
    """By which name the published runs have the model; nothing where none of them is of it."""
    name = settings.model.folder.name
    return next((size for size in FIGURE_2 if name == f"DeepSeek-R1-Distill-Qwen-{size}"), "")
