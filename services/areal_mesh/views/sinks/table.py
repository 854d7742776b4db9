"""Every sink, by the `type` of its settings."""

from collections.abc import Callable, Mapping
from typing import Any

from areal_mesh.views.sinks.tracker import TrackedRun, Tracker
from areal_mesh.views.sinks.trackio_tracker import TrackioTracker
from areal_mesh.views.sinks.wandb_tracker import WandbTracker

MakeTracker = Callable[[Any, TrackedRun], Tracker]

SINKS: Mapping[str, MakeTracker | None] = {
    "tensorboard": None,
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
}
"""A tracker, which gets a process of its own; None where the controller writes it itself."""
