"""Figures of two panels, as the release note has them, and their files: whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MAKER = "areal-mesh"
_HEAD_BYTES = 4096


def new_figure() -> tuple[Any, tuple[Any, Any]]:
    """A figure and its two axes, side by side. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    return figure, (left, right)


def save_figure(figure: Any, paths: Sequence[Path]) -> None:
    """Writes a figure to each path, PNG or SVG by its suffix; an SVG of the same figure has the same bytes."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": _MAKER}):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.new")
            kind = path.suffix.removeprefix(".")
            metadata = {"Creator": _MAKER, "Date": None} if kind == "svg" else {"Software": _MAKER}
            figure.savefig(aside, format=kind, metadata=metadata)
            aside.replace(path)


def drawn_here(path: Path) -> bool:
    """Whether `save_figure` wrote a file, so that it may be written anew."""
    with path.open("rb") as file:
        return _MAKER.encode() in file.read(_HEAD_BYTES)
