"""Wall-clock seconds by phase."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _no_wait() -> None:
    """Nothing is under way."""


class Stopwatch:
    """Adds up the seconds spent in each named phase; a phase may be entered again."""

    def __init__(self, settle: Callable[[], None] = _no_wait) -> None:
        """settle: returns when what was asked of the device is done. A GPU still works when a call has returned, and
        the next phase would have its seconds."""
        self._settle = settle
        self._start = time.perf_counter()
        self._phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's seconds, and those of its work on the device, towards `name`."""
        begun = time.perf_counter()
        try:
            yield
            self._settle()
        finally:
            self.add(name, time.perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere towards `name`."""
        self._phases[name] = self._phases.get(name, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """Seconds by phase so far, which are forgotten."""
        phases, self._phases = self._phases, {}
        return phases

    def seconds(self) -> dict[str, float]:
        """Seconds by phase so far, and `total` since the start."""
        return {**self._phases, "total": time.perf_counter() - self._start}
