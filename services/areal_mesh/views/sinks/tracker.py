"""What a tracker is, and what it is told of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from areal_mesh.views.rows import Row

_NO_FIGURES = ("step", "committed_at", "time")


@dataclass(frozen=True)
class TrackedRun:
    """The run as a tracker is told of it."""

    name: str
    identity: str
    """The same in every sitting of the run, so that a tracker goes on with what it has."""
    folder: Path
    """The run's directory."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved settings."""


class Tracker(Protocol):
    """Takes the figures of a run, step by step."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes a step's figures; each step comes once, in order."""

    def finish(self) -> None:
        """Sends what is left."""


def figures_of(row: Row) -> dict[str, float]:
    """The numbers of a step, by the names that they have in `metrics.jsonl`."""
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in _NO_FIGURES
    }
