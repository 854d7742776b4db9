"""Accuracy and response length by checkpoint, a line for each suite, as Figure 4 of AReaL's release note."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from areal_mesh.views.drawing import new_figure, save_figure
from areal_mesh.views.rows import Row


def plot_accuracy(rows: Sequence[Row], paths: Sequence[Path]) -> None:
    """Draws pass@1 with its interval, and the response length, to each path by its suffix. Needs matplotlib.

    Args:
        rows: each with `suite`, `policy_version` or `checkpoint`, `pass_at_1`, `low`, `high`, `response_length`.
    """
    figure, (left, right) = new_figure()
    places, names = _places(rows)
    for suite in dict.fromkeys(str(row["suite"]) for row in rows):
        found = sorted((row for row in rows if row["suite"] == suite), key=lambda row: places[_name(row)])
        at = [places[_name(row)] for row in found]
        accuracy = [100 * float(row["pass_at_1"]) for row in found]
        below = [100 * (float(row["pass_at_1"]) - float(row["low"])) for row in found]
        above = [100 * (float(row["high"]) - float(row["pass_at_1"])) for row in found]
        left.errorbar(at, accuracy, yerr=[below, above], marker="o", capsize=3, linewidth=1.5, label=suite)
        right.plot(at, [float(row["response_length"]) for row in found], marker="o", linewidth=1.5, label=suite)
    _finish(left, "pass@1 (%)", places, names)
    _finish(right, "mean response length (tokens)", places, names)
    save_figure(figure, paths)


def _name(row: Row) -> str:
    version = row.get("policy_version")
    return str(row.get("checkpoint", version))


def _places(rows: Sequence[Row]) -> tuple[dict[str, int], bool]:
    """Where each checkpoint stands on the axis: at its version, or one after the other where some have none or one
    version is there twice; and whether names stand there instead of versions."""
    versions = {_name(row): row.get("policy_version") for row in rows}
    known = [version for version in versions.values() if version is not None]
    if len(known) == len(versions) == len(set(known)) and len(known) > 1:
        return {name: int(version) for name, version in versions.items() if version is not None}, False
    return {name: place for place, name in enumerate(versions)}, True


def _finish(axes: Any, label: str, places: Mapping[str, int], names: bool) -> None:
    if names:
        axes.set_xticks(list(places.values()), list(places), rotation=20, ha="right", fontsize=9)
    else:
        axes.set_xlabel("policy version")
    axes.set_ylabel(label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
