"""The run's metrics for the endpoint, whose threads ask the event loop: the run is looked at by no other thread."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from statistics import median

from areal_mesh.controller.calls.status import StatusReader
from areal_mesh.controller.run_metrics import run_samples
from areal_mesh.runtime.metrics.metric import Sample

_ASK_SECONDS = 5.0


class RunMetrics:
    """Reads the run for Prometheus."""

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """To be called on the event loop that changes the run."""
        self._loop = asyncio.get_running_loop()

    def samples(self) -> Iterable[Sample]:
        """The run as it stands; called from other threads.

        Raises:
            TimeoutError: the loop hangs; the scrape fails, which says so.
        """
        if self._loop is None or self._loop.is_closed():
            return []
        return asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(_ASK_SECONDS)

    async def _read(self) -> list[Sample]:
        return list(run_samples(self._reader.status(), self.step_interval))

    @property
    def step_interval(self) -> float:
        """Median seconds between the last steps; 0 before there are two."""
        times = [step.committed_at for step in self._reader.run.recent]
        return median(after - before for before, after in pairwise(times)) if len(times) > 1 else 0.0
