"""Hours of training by nodes as bars: predicted, and published, in the form of the release note's Figure 2."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FIGURE_SUFFIXES = (".png", ".svg")
_MARK = "areal-mesh plan"
"""In a picture's metadata: what has it was made here, and may be made anew."""
_LOOKED_AT = 4096
_WIDTH = 0.27


class NotOurs(ValueError):
    """A file that was not made here lies where the picture is to be."""


@dataclass(frozen=True)
class HoursBar:
    """Hours on so many nodes."""

    nodes: int
    predicted: float
    table: float | None
    """As published in the tutorial's table."""
    figure: float | None
    """As published in the note's figure."""


def plot_hours(bars: Sequence[HoursBar], title: str, path: Path) -> None:
    """Draws the bars to a PNG or SVG file, whole or not at all. Needs matplotlib. Raises NotOurs."""
    if path.exists() and _MARK.encode() not in path.read_bytes()[:_LOOKED_AT]:
        raise NotOurs("a file that was not made by this command lies there; name another")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    kinds: Sequence[tuple[str, str, Sequence[float | None]]] = (
        ("predicted", "#1f4e79", [bar.predicted for bar in bars]),
        ("published, table", "#d62728", [bar.table for bar in bars]),
        ("published, Figure 2", "#e9a3a3", [bar.figure for bar in bars]),
    )
    for place, (label, colour, values) in enumerate(kinds):
        shown = [(number + (place - 1) * _WIDTH, value) for number, value in enumerate(values) if value is not None]
        if not shown:
            continue
        drawn = axes.bar([at for at, _ in shown], [value for _, value in shown], _WIDTH, color=colour, label=label)
        axes.bar_label(drawn, fmt="%.0f")
    axes.set_xticks(range(len(bars)), [str(bar.nodes) for bar in bars])
    axes.set_xlabel("nodes")
    axes.set_ylabel("total time (hours)")
    axes.set_title(title)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    key = "Software" if path.suffix == ".png" else "Creator"
    figure.savefig(aside, format=path.suffix[1:], metadata={key: _MARK})
    aside.replace(path)
