"""One run as the page knows it: its settings, the steps so far, its rollouts, and its controller while there is one."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from threading import Lock
from typing import Any

from areal_mesh.client import MeshClient, MeshClientError
from areal_mesh.rollouts.index import RolloutIndex
from areal_mesh.rollouts.values import RolloutsUnreadable
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.views.rows import MetricsTail, Row
from areal_mesh.views.run_views import METRICS_FILE

_STATUS_SECONDS = 2.0
_UPDATE_SECONDS = 1.0


Connect = Callable[[], AbstractAsyncContextManager[MeshClient]]


class ShownRun:
    """What the page asks of a run. Methods that read files block.

    Args:
        name: by which the page calls it, different for each run.
        folder: its directory.
        controller: host:port at which its controller is asked.
        connect: opens a client of its controller.
        goes_on: whether somebody works on the run now; None: where its controller answers.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: RunSettings,
        controller: str,
        connect: Connect,
        goes_on: Callable[[], bool] | None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.settings = settings
        self.controller = controller
        self.index = RolloutIndex(folder, settings.model.folder)
        self.wanted = False
        """Whether somebody asked for its rollouts: from then on its index is kept up to date."""
        self.fault = ""
        """Why rollouts cannot be read; empty where they can."""
        self.up_to_date = False
        """Whether the index has all that the log had a moment ago."""
        self._connect = connect
        self._goes_on = goes_on
        self._answers = False
        self._tail = MetricsTail(folder / METRICS_FILE)
        self._rows: list[Row] = []
        self._inode = 0
        self._reading = Lock()

    def rows(self) -> list[Row]:
        """Figures of the steps so far. Reads what is new of the run's metrics."""
        with self._reading:
            # A run that was begun anew has another file.
            file = self.folder / METRICS_FILE
            inode = file.stat().st_ino if file.exists() else 0
            if inode != self._inode:
                self._inode, self._tail, self._rows = inode, MetricsTail(file), []
            self._rows += self._tail.new_rows()
            return list(self._rows)

    def prepare(self) -> None:
        """Makes an index that answers; blocks for a moment."""
        try:
            self.index.prepare()
        except RolloutsUnreadable as error:
            self.fault = str(error)

    def catch_up(self) -> bool:
        """Takes what is new in the log for a second at most; returns whether that is all. Blocks."""
        try:
            self.up_to_date = self.index.update(_UPDATE_SECONDS)
            self.fault = ""
        except RolloutsUnreadable as error:
            self.fault, self.up_to_date = str(error), True
        return self.up_to_date

    @property
    def goes_on(self) -> bool:
        """Whether somebody works on the run, as far as can be told from here."""
        return self._answers if self._goes_on is None else self._goes_on()

    async def look(self) -> None:
        """Finds out whether the run goes on, where its controller alone can tell."""
        if self._goes_on is None:
            await self.status()

    async def status(self) -> dict[str, Any] | None:
        """What the controller says now; None where the run does not go on, or its controller does not answer."""
        if self._goes_on is not None and not self._goes_on():
            return None
        try:
            async with self._connect() as mesh, asyncio.timeout(_STATUS_SECONDS):
                status = await mesh.status()
        except (MeshClientError, TimeoutError):
            # The page says that no controller answers, and asks again.
            self._answers = False
            return None
        self._answers = status.run_name == self.settings.name
        return status.to_dict() if self._answers else None

    def about(self) -> dict[str, Any]:
        """What the page has to know of the run to show anything of it."""
        settings = self.settings
        return {
            "name": self.name,
            "folder": str(self.folder),
            "goes_on": self.goes_on,
            "controller": self.controller,
            "stages": [stage.model_dump(mode="json") for stage in settings.stages],
            "planned_steps": settings.planned_steps,
            "batch": settings.algorithm.batch_groups * settings.algorithm.responses,
            "model": str(settings.model.folder),
            "loss": settings.algorithm.loss.type,
            "advantage": settings.algorithm.advantage.type,
            "max_staleness": settings.algorithm.max_staleness,
        }
