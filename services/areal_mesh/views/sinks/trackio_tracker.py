"""Trackio: a database on this machine, and a Hugging Face Space where one is named. Needs the package `trackio`."""

from collections.abc import Mapping

from areal_mesh.runtime.settings.sinks import TrackioSinkSettings
from areal_mesh.views.sinks.tracker import TrackedRun


class TrackioTracker:
    """One run there, gone on with in every sitting."""

    def __init__(self, settings: TrackioSinkSettings, run: TrackedRun) -> None:
        import trackio

        self._run = trackio.init(
            project=settings.project,
            name=run.identity,
            space_id=settings.space,
            # A Space would else be public, and with it the settings of the run.
            private=True if settings.space else None,
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes a step's figures."""
        self._run.log(dict(figures), step=step)

    def finish(self) -> None:
        """Sends what is left."""
        self._run.finish()
