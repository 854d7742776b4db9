"""`areal-mesh report A B`: runs beside each other, settings in which they differ, and their curves in one picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.report import run_folder
from areal_mesh.cli.tables import print_wide
from areal_mesh.cli.times import shown_seconds
from areal_mesh.runtime.curves import mean
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings.changes import changes_between
from areal_mesh.views.rows import Row, moving_average, read_rows, series
from areal_mesh.views.run_views import METRICS_FILE

_WINDOW = 5
_ABSENT = "-"
_NOT_TOLD = ("name", "directory")
"""Settings in which two runs differ by being two."""


def compare_runs(sources: Sequence[str], picture: str) -> None:
    """Prints runs beside each other; with `picture`, draws their curves over each other into that new file.

    Raises:
        CommandFailed: one of them is no run, or has no step; or the file is there already.
    """
    folders = [run_folder(source) for source in sources]
    runs = {name: read_rows(folder / METRICS_FILE) for name, folder in _names(folders).items()}
    for name, rows in runs.items():
        if not rows:
            raise CommandFailed(f"{name}: has no step yet, so there is nothing to compare")
    print_wide(comparison_table(runs, [_settings(folder) for folder in folders]))
    if picture:
        _draw(runs, Path(picture))


def _names(folders: Sequence[Path]) -> dict[str, Path]:
    """Runs by their directories' names, or where these are the same, by their paths."""
    short = {folder.name: folder for folder in folders}
    return short if len(short) == len(folders) else {str(folder): folder for folder in folders}


def _settings(folder: Path) -> Any:
    try:
        return json.loads((folder / SETTINGS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}


def _draw(runs: Mapping[str, Sequence[Row]], path: Path) -> None:
    try:
        from areal_mesh.views.comparison import plot_runs

        plot_runs(runs, path)
    except ImportError as error:
        raise CommandFailed(f"{error}; install areal-mesh[views]") from error
    except OSError as error:
        raise CommandFailed(f"--picture {path}: {(error.strerror or str(error)).lower()}; name a new file") from error
    print(f"{path}: the curves of {', '.join(runs)}")


def comparison_table(runs: Mapping[str, Sequence[Row]], settings: Sequence[Any]) -> Table:
    """One column a run: figures, then the settings that are not the same in all."""
    table = Table(title=f"{len(runs)} runs", title_justify="left")
    table.add_column("what", no_wrap=True)
    for name in runs:
        table.add_column(name)
    for label, figure in _FIGURES.items():
        table.add_row(label, *(figure(rows) for rows in runs.values()))
    table.add_section()
    for key, values in _differing(settings).items():
        table.add_row(key, *values)
    return table


def _smoothed(rows: Sequence[Row], metric: str) -> list[float]:
    return moving_average(series(rows, metric)[1], _WINDOW)


def _last(metric: str, style: str) -> Callable[[Sequence[Row]], str]:
    def shown(rows: Sequence[Row]) -> str:
        values = _smoothed(rows, metric)
        return format(values[-1], style) if values else _ABSENT

    return shown


def _best_reward(rows: Sequence[Row]) -> str:
    values = _smoothed(rows, "reward")
    if not values:
        return _ABSENT
    best = max(range(len(values)), key=lambda place: values[place])
    return f"{values[best]:+.3f} at step {series(rows, 'reward')[0][best]}"


def _time(rows: Sequence[Row]) -> str:
    times = [float(row["committed_at"]) for row in rows if "committed_at" in row]
    return shown_seconds(times[-1] - times[0]) if times else _ABSENT


def _mean(metric: str, style: str) -> Callable[[Sequence[Row]], str]:
    def shown(rows: Sequence[Row]) -> str:
        value = mean([row.get(metric) for row in rows])
        return _ABSENT if value is None else format(value, style)

    return shown


_FIGURES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "steps": lambda rows: str(rows[-1]["step"]),
    "first to last step": _time,
    f"reward, last {_WINDOW} steps": _last("reward", "+.3f"),
    f"best reward, {_WINDOW} steps": _best_reward,
    f"correct, last {_WINDOW} steps": _last("correct", ".0%"),
    f"length, last {_WINDOW} steps": _last("response_length", ",.1f"),
    f"truncated, last {_WINDOW} steps": _last("truncated", ".0%"),
    "staleness, mean": _mean("staleness_mean", ".2f"),
    "mismatch KL, mean": _mean("mismatch_kl", ".1e"),
    "tokens generated": lambda rows: f"{rows[-1].get('tokens_generated', 0):,}",
    "tokens trained a second, mean": _mean("trained_tokens_per_second", ",.0f"),
}


def _differing(settings: Sequence[Any]) -> dict[str, list[str]]:
    """Settings by key in which the runs differ, each as JSON."""
    keys = dict.fromkeys(change.key for other in settings[1:] for change in changes_between(settings[0], other))
    return {key: [json.dumps(_at(one, key)) for one in settings] for key in keys if key not in _NOT_TOLD}


def _at(settings: Any, key: str) -> Any:
    value = settings
    for part in key.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value
