"""Weights & Biases, or a folder of its own for `wandb sync`. Needs the package `wandb`."""

from collections.abc import Mapping

from areal_mesh.runtime.settings.sinks import WandbSinkSettings
from areal_mesh.views.sinks.tracker import TrackedRun


class WandbTracker:
    """One run there, gone on with in every sitting."""

    def __init__(self, settings: WandbSinkSettings, run: TrackedRun) -> None:
        import wandb

        self._run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode=settings.mode,
            name=run.name,
            id=run.identity,
            resume="allow",
            dir=run.folder,
            config=dict(run.config),
            save_code=False,
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes a step's figures."""
        self._run.log(dict(figures), step=step)

    def finish(self) -> None:
        """Sends what is left."""
        self._run.finish()
