"""The time a generator spends generating."""

import time
from collections.abc import Callable


class GeneratingClock:
    """Seconds in which requests ran: at least one group is being sampled and the engine is not frozen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._seconds = 0.0
        self._sampling = 0
        self._frozen = False

    def begin(self) -> None:
        """A group's sampling begins."""
        self._settle()
        self._sampling += 1

    def end(self) -> None:
        """A group's sampling ends, however it ends."""
        self._settle()
        self._sampling -= 1

    def freeze(self, frozen: bool) -> None:
        """Requests are frozen for a publish, or go on."""
        self._settle()
        self._frozen = frozen

    def seconds(self) -> float:
        """Generating seconds so far."""
        self._settle()
        return self._seconds

    def _settle(self) -> None:
        now = self._clock()
        if self._sampling > 0 and not self._frozen:
            self._seconds += now - self._since
        self._since = now
